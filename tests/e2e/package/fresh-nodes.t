#!/bin/bash
# Two fresh nodes are set up by the README alone: what it says is read out of it and typed. Counted are the commands and
# the seconds from nothing to `verified`. The nodes have what makes somebody want certsync: HAProxy and sshd on one,
# Dovecot on the other, each with a certificate of its own. The authority is Pebble, which both trust as they would
# trust a public one.
# Not under valgrind: it builds and installs packages of its own.
# Not for coverage: it runs programs of the Debian packages, which are built without counters.
# shellcheck disable=SC2016,SC2154 # words for others; variables of what is sourced
set -u
# shellcheck source=tests/e2e/lib/packages.sh
. "$(dirname "$(readlink -f "$0")")/../lib/packages.sh"
name=mail.domain.pl
commands=0 edits=0

# ---- what is there before ----

self_signed() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
		-addext "subjectAltName=DNS:$1" -keyout "$2.key" -out "$2.crt" "${@:3}" 2>/dev/null
}

servers() {
	local root=$scratch/haproxy
	in_machine haproxy apt-get -q -y --no-install-recommends install haproxy openssh-server ca-certificates &&
		in_machine mail apt-get -q -y --no-install-recommends install dovecot-imapd ca-certificates || return
	self_signed "$name" "$scratch/old"
	cat "$scratch/old.key" "$scratch/old.crt" >"$root/etc/haproxy/old.pem"
	cat >>"$root/etc/haproxy/haproxy.cfg" <<-CFG
		frontend http
			bind :80
			http-request redirect scheme https unless { path_beg /.well-known/acme-challenge/ }

		frontend https
			bind :443 ssl crt /etc/haproxy/old.pem
			http-request return status 200 content-type text/plain string "here"
	CFG
	install -d -m 700 "$scratch/mail/etc/dovecot/private"
	cp "$scratch/old.key" "$scratch/mail/etc/dovecot/private/old.key"
	cp "$scratch/old.crt" "$scratch/mail/etc/dovecot/old.crt"
	case $(in_machine mail dovecot --version) in
	2.3.*) cert='ssl_cert' key='ssl_key' from='<' ;;
	*) cert='ssl_server_cert_file' key='ssl_server_key_file' from='' ;;
	esac
	cat >"$scratch/mail/etc/dovecot/conf.d/10-ssl.conf" <<-CONF
		ssl = yes
		$cert = $from/etc/dovecot/old.crt
		$key = $from/etc/dovecot/private/old.key
	CONF
	cat >"$scratch/hosts" <<-HOSTS
		127.0.0.1 localhost
		192.0.2.1 haproxy.domain.pl haproxy acme.domain.pl $name smtp.domain.pl imap.domain.pl
		192.0.2.2 mail
	HOSTS
	cp "$scratch/hosts" "$root/etc/hosts" && cp "$scratch/hosts" "$scratch/mail/etc/hosts"
}

# Starts the authority, whose programs are this machine's, in the network of the HAProxy node.
authority() {
	local network=(nsenter --target "${machine_pid[haproxy]}" --net) node
	self_signed acme.domain.pl "$scratch/api"
	sed -e "s,/etc/pebble/,$scratch/," -e 's/api\.pem/api.crt/' \
		"$here/../../../examples/nodes/ca/etc/pebble/pebble.json" >"$scratch/pebble.json"
	"${network[@]}" "$here/../../../examples/demo/node/challtestsrv" 127.0.0.1:8053 -defaultIPv4 192.0.2.1 -defaultIPv6 '' \
		>"$scratch/dns.log" 2>&1 &
	"${network[@]}" env PEBBLE_VA_NOSLEEP=1 pebble -strict -config "$scratch/pebble.json" -dnsserver 127.0.0.1:8053 \
		>"$scratch/pebble.log" 2>&1 &
	wait_until 20 Pebble "${network[@]}" curl -sfk -o "$scratch/root.crt" https://127.0.0.1:15000/roots/0 || return
	for node in haproxy mail; do
		cp "$scratch/root.crt" "$scratch/api.crt" "$scratch/$node/usr/local/share/ca-certificates/"
		at "$node" update-ca-certificates || return
	done
}

running() {
	at haproxy sh -c 'mkdir -p /run/sshd /run/haproxy && /usr/sbin/sshd && haproxy -W -D -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid' &&
		at mail dovecot
}

before() {
	machine_new haproxy && machine_new mail && servers && machine_boot haproxy 192.0.2.1 && machine_boot mail 192.0.2.2 haproxy &&
		authority && running
}

# ---- what is typed ----

# Types a line at a node: the README must have it (in pieces, where nodes differ), and it must succeed.
type_at() {
	local node=$1 line=$2 how=at
	commands=$((commands + 1))
	case $line in 'apt install '*) how=in_machine line="cd /tmp && $line" ;; esac
	$how "$node" bash -c "$line" >"$scratch/printed" 2>"$scratch/errors" </dev/stdin
	local status=$?
	report "$status" "$node# ${line#cd /tmp && }"
	[ "$status" -eq 0 ] || note "exit $status: $(cat "$scratch/printed" "$scratch/errors")" >&2
}

says() {
	ok "the README says: $1" "$here/readme" says "$1"
}

block() {
	"$here/readme" block "$1"
}

edited() {
	edits=$((edits + 1))
	note "edited: $1"
}

all_verified() {
	at haproxy certsync status >"$scratch/status" 2>&1
}

shown() {
	at "$1" sh -c 'tail -n 30 -v /var/log/certsync-*.log; cat /etc/certsync/agent.conf' 2>&1
}

issuer() {
	nsenter --target "${machine_pid[$1]}" --net openssl s_client -connect "127.0.0.1:$2" -servername "$name" </dev/null 2>/dev/null |
		openssl x509 -noout -issuer -nameopt RFC2253 2>/dev/null
}

machines_begin
before >"$scratch/before.log" 2>&1 || fail 'the nodes are not there' "$(tail -n 20 "$scratch/before.log")"
for node in haproxy mail; do
	cp "$packages"/certsync-agent_*.deb "$scratch/$node/tmp/"
done
cp "$packages"/certsync-hub_*.deb "$scratch/haproxy/tmp/"
is 'both nodes serve a certificate of their own' "$(issuer haproxy 443)$(issuer mail 993)" "issuer=CN=${name}issuer=CN=$name"

started=$(date +%s%N)
says 'apt install ./certsync-agent_*.deb'
says 'apt install ./certsync-hub_*.deb ./certsync-agent_*.deb'
type_at mail 'apt install -y ./certsync-agent_*.deb'
type_at haproxy 'apt install -y ./certsync-hub_*.deb ./certsync-agent_*.deb'

block 'ssh = "certsync-gate@haproxy.domain.pl:22"' |
	sed 's,https://[^"]*,https://acme.domain.pl:14000/dir,' >"$scratch/haproxy/etc/certsync/hub.conf"
edited hub.conf
says 'systemd-tmpfiles --create certsync-hub.conf'
type_at haproxy 'systemd-tmpfiles --create certsync-hub.conf'
type_at haproxy 'certsync config'
block 'acl acme path_beg' | sed 's/^/\t/' | sed -i '/bind :80/r /dev/stdin' "$scratch/haproxy/etc/haproxy/haproxy.cfg"
block 'backend certsync' >>"$scratch/haproxy/etc/haproxy/haproxy.cfg"
edited haproxy.cfg
says 'haproxy -c -f /etc/haproxy/haproxy.cfg && systemctl reload haproxy'
# is what `systemctl reload haproxy` does
type_at haproxy 'haproxy -c -q -f /etc/haproxy/haproxy.cfg && kill -USR2 "$(cat /run/haproxy.pid)"'

says 'systemctl enable --now certsync-hub'
type_at haproxy 'systemctl enable --now certsync-hub'
says 'certsync agent add haproxy | certsync-agent join'
type_at haproxy 'set -o pipefail; certsync agent add haproxy | certsync-agent join'
says 'systemctl enable --now certsync-agent'
type_at haproxy 'systemctl enable --now certsync-agent'
says 'certsync agent add mail'
type_at haproxy 'certsync agent add mail'
cp "$scratch/printed" "$scratch/line"
says 'certsync-agent join '
type_at mail 'certsync-agent join' <"$scratch/line"
type_at mail 'systemctl enable --now certsync-agent'

sed -i "s,crt /etc/haproxy/old.pem,crt /etc/certsync/live/$name/haproxy.pem," "$scratch/haproxy/etc/haproxy/haproxy.cfg"
edited haproxy.cfg
says "crt /etc/certsync/live/$name/haproxy.pem"
type_at haproxy 'haproxy -c -q -f /etc/haproxy/haproxy.cfg && kill -USR2 "$(cat /run/haproxy.pid)"'
{ echo 'ssl = yes'; block 'Postfix   smtpd_tls_chain_files' | sed -nE "s/^(Dovecot|2\.3|both| )*(($cert|$key|shutdown_clients) [^#]*).*/\2/p"; } \
	>"$scratch/mail/etc/dovecot/conf.d/10-ssl.conf"
edited 10-ssl.conf
says 'reload the service afterwards'
type_at mail 'doveadm reload'
says 'certsync push'
type_at haproxy 'certsync push'
says '**7. Look.** `certsync status`'
ok 'both nodes are verified' wait_until 30 'verified' all_verified || { cat "$scratch/status"; shown haproxy; shown mail; } >&2
commands=$((commands + 1))
seconds=$((($(date +%s%N) - started) / 100000000))
[ "$tests_failed" -eq 0 ] || { cat "$scratch/status"; shown haproxy; shown mail; } | sed 's/^/# /' >&2
is 'and so it is seen: the authority has signed' "$(issuer haproxy 443 | sed 's/Pebble.*/Pebble/')" 'issuer=CN=Pebble'
is 'on the mail server too' "$(issuer mail 993 | sed 's/Pebble.*/Pebble/')" 'issuer=CN=Pebble'
note "$(cat "$scratch/status")"
echo "# from nothing to verified: $commands commands, $edits edited files, $((seconds / 10)).$((seconds % 10)) s"
done_testing
