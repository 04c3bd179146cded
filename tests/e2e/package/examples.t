#!/bin/bash
# Every file of examples/ is accepted by the program that it is for: each node's files lie where they belong, over this
# machine's, with the accounts that the README makes and the files that the node's own root half installs; then each
# program checks its configuration.
# Not under valgrind: it runs nothing but the check of configurations.
set -u
self=$(readlink -f "$0")
# shellcheck source=tests/e2e/lib/lib.sh
. "$(dirname "$self")/../lib/lib.sh"
examples=$(readlink -f "$lib/../../../examples")
bin=$(readlink -f "$bin")
NODES="haproxy mail backup1 backup2 web oldmail"

# ---- inside a node's mount namespace: each check is a line "STATUS TEXT", and what it said on standard error ----

check() {
	local text=$1 output status=0
	shift
	output=$("$@" 2>&1) || status=$?
	[ "$status" -eq 0 ] || echo "$text: exit $status: $output" >&2
	echo "$status $text"
}

# Puts copies of /etc and /var into memory, without what this machine has configured itself.
cover() {
	local name
	mount -t tmpfs -o mode=755 none /mnt
	for name in etc var; do
		mkdir "/mnt/$name" "/mnt/$name.work"
		mount -t overlay -o "lowerdir=/$name,upperdir=/mnt/$name,workdir=/mnt/$name.work" none "/$name"
	done
	mount -t tmpfs -o mode=755 none /run
	rm -rf /etc/certsync /etc/haproxy /etc/dovecot /etc/ssh /etc/fail2ban/jail.d /etc/courier /var/lib/certsync-*
	mkdir -p /etc/fail2ban/jail.d /etc/ssh /run/sshd /run/haproxy /run/courier /var/log
	touch /var/log/auth.log /var/log/mail.log /var/log/dovecot.log
}

# Has certsync's own programs make the files that they put where there is none, as the configuration asks.
placeholders() {
	local deadline=$((SECONDS + 20)) name pid
	"$bin/certsync-agent-root" >/run/agent.log 2>&1 &
	pid=$!
	while read -r name; do
		until [ -e "/etc/certsync/live/$name/haproxy.pem" ]; do
			if [ $SECONDS -ge $deadline ] || ! kill -0 $pid 2>/dev/null; then
				cat /run/agent.log
				return 1
			fi
			sleep 0.05
		done
	done < <(sed -n 's/^certificate "\(.*\)" {/\1/p' /etc/certsync/agent.conf)
	kill $pid && wait $pid
	[ -e /etc/certsync/live/mail.domain.pl/combined.pem ]
}

set_up() {
	ip link set lo up
	cover
	cp -R "$examples/nodes/$1/." /
	[ "$1" != oldmail ] || useradd --system --user-group courier
	"$examples/demo/node/prepare"
	cp /etc/ssl/certs/ca-certificates.crt /etc/certsync/anchors.pem
	cp /etc/ssl/certs/ca-certificates.crt /etc/certsync/acme-api.pem
	cp "$examples/hub.conf" /etc/certsync/fleet.conf
}

# Checks what must hold for the account through which agents come in.
gate_is_bound() {
	local said wanted
	said=$(/usr/sbin/sshd -T -C user=certsync-gate,host=mail.domain.pl,addr=10.77.0.30) || return
	for wanted in 'authenticationmethods publickey' 'disableforwarding yes' 'permittty no'; do
		grep -qx "$wanted" <<<"$said" || { echo "$said"; return 1; }
	done
}

# doveconf does not look into the files; Dovecot's own hook does both.
dovecot_reads() {
	doveconf -c /etc/dovecot/dovecot.conf >/dev/null && "$bin/hooks/dovecot" test
}

# From 3.10 on Debian's copies what a chroot needs, and says so.
postfix_has_no_complaint() {
	local said
	postmap -F /etc/postfix/sni && said=$(postfix check 2>&1) || return
	said=$(sed '/^updating /d' <<<"$said")
	[ -z "$said" ] || { echo "$said"; return 1; }
}

agents_are_ignored() {
	fail2ban-client -t && fail2ban-client -d | grep "'addignoreip'" | grep -q "$1"
}

check_node() {
	local node=$1
	set_up "$node" >/dev/null || { echo "1 $node: its files can be laid out"; return; }
	check "$node: certsync-agent config" "$bin/certsync-agent" config
	check "$node: its root half installs what the files name" placeholders
	case $node in
	haproxy)
		check "$node: certsync config" "$bin/certsync" config
		check "the fleet's hub.conf: certsync config" "$bin/certsync" config -c /etc/certsync/fleet.conf
		check "$node: haproxy -c" haproxy -c -q -f /etc/haproxy/haproxy.cfg
		check "$node: sshd -t" /usr/sbin/sshd -t
		check "$node: sshd binds the gate account" gate_is_bound
		check "$node: fail2ban-client -t, and it passes agents over" agents_are_ignored 10.77.0.30
		;;
	web)
		check "$node: nginx -t" nginx -q -t
		;;
	oldmail)
		check "$node: Courier's files, read as its start scripts do" "$bin/hooks/courier" test
		;;
	*)
		check "$node: postfix check" postfix_has_no_complaint
		check "$node: doveconf" dovecot_reads
		check "$node: fail2ban-client -t, and it passes HAProxy over" agents_are_ignored 10.77.0.20
		;;
	esac
}

if [ "${1-}" = node ]; then
	check_node "$2"
	exit
fi

# ---- outside ----

needs_root mounts
scratch=$(mktemp -d -t certsync-examples.XXXXXXXX)
trap 'rm -rf "$scratch"' EXIT
for node in $NODES; do
	unshare --mount --propagation private --pid --fork --kill-child --mount-proc --net "$self" node "$node" >"$scratch/results" 2>"$scratch/said"
	[ -s "$scratch/results" ] || echo "1 $node: it can be looked at" >"$scratch/results"
	failed=$tests_failed
	while read -r status text; do
		report "$status" "$text"
	done <"$scratch/results"
	[ "$tests_failed" -eq "$failed" ] || note "$(cat "$scratch/said")" >&2
done

# Every file in examples/ is looked at by some check.
is "each node of the examples is checked" "$(cd "$examples/nodes" && echo *)" "backup1 backup2 ca haproxy mail oldmail web"
for script in "$examples"/deploy-hooks/* "$examples/relay/certsync-relay" "$examples"/relay/certsync-relay.conf; do
	ok "$(basename "$script") is a script that a shell can read" sh -n "$script"
done
done_testing
