#!/bin/bash
# The Debian packages are built, looked at by lintian, installed on a machine that has nothing, upgraded under running
# daemons, removed and purged.
# Not under valgrind: it builds and installs packages of its own.
# Not for coverage: it runs programs of the Debian packages, which are built without counters.
# shellcheck disable=SC2016,SC2154 # words for dpkg-query; variables of what is sourced
set -u
# shellcheck source=tests/e2e/lib/packages.sh
. "$(dirname "$(readlink -f "$0")")/../lib/packages.sh"

on() {
	in_machine node "$@"
}

apt() {
	on apt-get -q -y --no-install-recommends "$@"
}

# Makes a package with the same content and an older version, from which it is upgraded.
older() {
	local name=$1 tree=$scratch/older
	dpkg-deb -R "$packages/${name}_$version"_*.deb "$tree"
	sed -i "s/\b$version\b/0.0.9/" "$tree/DEBIAN/control"
	dpkg-deb --root-owner-group -Zgzip -z1 -b "$tree" "$scratch/node/tmp/$name.old.deb" >"$scratch/repack.log"
	rm -r "$tree"
}

# Prints kind, mode, owner and group of what is there.
facts() {
	on stat -c '%F %a %U:%G' "$1"
}

account() {
	on getent passwd "$1" | cut -d: -f 6,7
}

# Configures a hub with its own agent, on their default paths.
configure() {
	local etc=$scratch/node/etc/certsync
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$scratch/ca.key" -out "$etc/ca.pem" \
		-subj "/CN=an authority" -days 30 -addext basicConstraints=critical,CA:true 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$scratch/node/root/mail.key" \
		-subj "/CN=mail.domain.pl" -out "$scratch/mail.csr" 2>/dev/null
	printf 'subjectAltName=DNS:mail.domain.pl\nextendedKeyUsage=serverAuth\n' >"$scratch/extensions"
	openssl x509 -req -in "$scratch/mail.csr" -CA "$etc/ca.pem" -CAkey "$scratch/ca.key" -days 20 \
		-extfile "$scratch/extensions" -out "$scratch/node/root/mail.crt" 2>/dev/null
	cat >"$etc/hub.conf" <<-CONF
		ssh = "certsync-gate@haproxy.domain.pl:22"
		host_keys = {"/etc/certsync/ca.pem.pub"}
		anchors = "/etc/certsync/ca.pem"
		certificate "mail.domain.pl" {}
		agent "here" { certificates = {"mail.domain.pl"}  local = true }
	CONF
	cat >"$etc/agent.conf" <<-CONF
		hub = {"unix:///run/certsync-hub/local.sock"}
		anchors = "/etc/certsync/ca.pem"
		certificate "mail.domain.pl" {
			allow = {"*.domain.pl"}
			service "nothing" { hook = "/bin/true"  probe = none }
		}
	CONF
	ssh-keygen -q -t ed25519 -N '' -f "$scratch/node/etc/certsync/ca.pem" <<<n >/dev/null 2>&1
	ssh-keygen -q -t ed25519 -N '' -f "$scratch/host" && cp "$scratch/host.pub" "$etc/ca.pem.pub"
}

enrol() {
	on sh -c 'certsync-agent identity | certsync agent add here --key - | certsync-agent join'
}

# 3 means that it was accepted, and that the agent, which has only been started, is not there yet.
taken() {
	on certsync import mail.domain.pl --key /root/mail.key --chain /root/mail.crt || [ $? -eq 3 ]
}

verified() {
	wait_until 20 'the agent is verified' on certsync status && return
	cat "$scratch"/node/var/log/certsync-*.log
	return 1
}

pids() {
	cat "$scratch"/node/run/systemctl-double/certsync-*.service | tr '\n' ' '
}

# Lists whatever is certsync's, besides what dpkg and the accounts keep.
left() {
	(cd "$scratch/node" && find etc var run usr -xdev -name '*certsync*' ! -path 'var/lib/dpkg/*' ! -path 'var/log/*' | sort)
}

SECONDS=0
machines_begin
version=$(dpkg-deb -f "$packages"/certsync-hub_*.deb Version)
note "packages built, lintian passed, machine made: $SECONDS s"
is 'the packages have the version of the programs' "$version" "$(sed -n 's/^VERSION := //p' "$here/../../../Makefile")"

# ---- installation ----

machine_new node
older certsync-hub
older certsync-agent
ok 'apt installs the hub, and with it the agent and what both need' apt install /tmp/certsync-hub.old.deb /tmp/certsync-agent.old.deb
[ "$tests_failed" -eq 0 ] || fail 'the packages cannot be installed'

for program in certsync certsync-agent certsync-hub-root certsync-agent-root; do
	is "$program answers" "$(on "$program" --version)" "$program $version"
done
is 'nothing that they link is missing' "$(on sh -c 'ldd /usr/lib/certsync/certsync* /usr/lib/certsync/hooks/haproxy /usr/lib/certsync/hooks/master' | grep 'not found')" ''
for page in certsync.1 certsync-agent.1 certsync-hub.conf.5 certsync-agent.conf.5 certsync-protocol.7; do
	ok "$page is there" test -s "$scratch/node/usr/share/man/man${page##*.}/$page.gz"
done
is "the daemons' accounts have their homes and no shell" "$(account certsync-hub) $(account certsync-agent)" \
	'/var/lib/certsync-hub:/usr/sbin/nologin /var/lib/certsync-agent:/usr/sbin/nologin'
is "the keys' account has its home and no shell" "$(account certsync-keys)" '/var/lib/certsync-hub-keys:/usr/sbin/nologin'
is "the workers' account has no home and no shell" "$(account certsync-worker)" '/:/usr/sbin/nologin'
is "the gate's login shell is the gate" "$(account certsync-gate)" '/var/lib/certsync-gate:/usr/lib/certsync/certsync-gate'
is 'it has no password, and is not locked' "$(on getent shadow certsync-gate | cut -d: -f 2)" '*'
is 'nobody is in certsync-admin' "$(on getent group certsync-admin | cut -d: -f 4)" ''
while read -r path wanted; do
	is "$path has its kind, mode, owner and group" "$(facts "$path")" "$wanted"
done <<'FACTS'
/etc/certsync directory 755 root:root
/var/lib/certsync-hub directory 700 certsync-hub:certsync-hub
/var/lib/certsync-hub-keys directory 700 certsync-keys:certsync-keys
/var/lib/certsync-agent directory 700 certsync-agent:certsync-agent
/var/lib/certsync-agent-root directory 700 root:root
/var/lib/certsync-gate directory 755 root:root
/var/lib/certsync-gate/.ssh directory 755 root:root
/run/certsync-hub directory 2755 certsync-hub:certsync-admin
/run/certsync-hub-keys directory 2755 root:certsync-admin
/run/certsync-agent directory 2755 certsync-agent:certsync-admin
FACTS
for unit in hub agent; do
	ok "certsync-$unit is enabled" test -L "$scratch/node/etc/systemd/system/multi-user.target.wants/certsync-$unit.service"
done
ok 'systemd has nothing to say about the units' systemd-analyze verify --man=no --recursive-errors=no --root="$scratch/node" \
	certsync-hub.service certsync-agent.service
is 'neither has a conffile to ask about' "$(on dpkg-query -W -f '${Conffiles}' certsync-hub certsync-agent)" ''

# ---- at work, and an upgrade meanwhile ----

rm "$scratch/node/usr/sbin/policy-rc.d"
mkdir -p "$scratch/node/run/systemd/system"
ok 'without a configuration a start is no failure' on systemctl start certsync-hub certsync-agent
is 'and starts nothing' "$(pids 2>/dev/null)" ''
configure
ok 'tmpfiles gives the configuration its modes' on systemd-tmpfiles --create certsync-hub.conf certsync-agent.conf
is "hub.conf is root's, and its group's to read" "$(facts /etc/certsync/hub.conf)" 'regular file 640 root:certsync-hub'
ok 'the hub starts' on systemctl start certsync-hub
ok 'its agent joins' enrol
ok 'and starts' on systemctl start certsync-agent
ok 'a certificate is taken' taken
ok 'and installed' verified
before=$(pids)
served=$(on readlink -f /etc/certsync/live/mail.domain.pl)
cp "$packages"/certsync-{hub,agent}_*.deb "$scratch/node/tmp/"
ok 'the new version takes the place of the old one' apt install "/tmp/certsync-hub_${version}_amd64.deb" "/tmp/certsync-agent_${version}_amd64.deb"
is 'it is the new one' "$(on dpkg-query -W -f '${Version} ' certsync-hub certsync-agent)" "$version $version "
ok 'the daemons were restarted' test "$before" != "$(pids)" -a "$(pids | wc -w)" -eq 2
ok 'and nothing was lost: all is verified' verified
is 'with the revision of before' "$(on readlink -f /etc/certsync/live/mail.domain.pl)" "$served"

# ---- the end ----

ok 'the packages are removed' apt remove certsync-hub certsync-agent
is 'the daemons have ended' "$(on sh -c 'cat /proc/[0-9]*/comm' 2>/dev/null | grep -c '^certsync')" 0
ok 'the certificate stays' test -s "$scratch/node$served/combined.pem"
ok 'and the store' test -s "$scratch/node/var/lib/certsync-hub/certificates/mail.domain.pl/current/fullchain.pem"
ok 'and the configuration' test -s "$scratch/node/etc/certsync/hub.conf" -a -s "$scratch/node/etc/certsync/agent.conf"
rm "$scratch"/node/etc/certsync/ca.pem*
ok 'purged, and nothing is asked' apt purge certsync-hub certsync-agent
is 'nothing of it is left' "$(left)" ''
note "all: $SECONDS s"
done_testing
