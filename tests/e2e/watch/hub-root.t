#!/bin/bash
# shellcheck disable=SC2154 # bin, tests_failed: lib.sh
# certsync-hub-root and the real daemon under it watch directories that other programs write: certbot swaps its links, a
# directory is replaced, the key comes before the chain, a file is half-written, events overflow, processes are killed.
# Everything is in one temporary directory; as root the daemon runs as nobody.
set -u
# shellcheck source=tests/e2e/lib/lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../lib/lib.sh"

dir=$(mktemp -d -t certsync-hub-root.XXXXXXXX)
root_pid=
clean() {
	[ -z "$root_pid" ] || kill -KILL "$root_pid" 2>/dev/null
	wait
	rm -rf "$dir"
}
trap clean EXIT
trap 'exit 130' INT TERM HUP

# The programs lie in a place that the user nobody can reach, too.
chmod 755 "$dir"
install -d "$dir/bin" "$dir/w" "$dir/pairs"
install -m 755 "$bin/certsync" "$bin/certsync-hub-root" "$bin/certsync-keys" "$dir/bin"

user=$(id -un) group=$(id -gn)
[ "$(id -u)" -ne 0 ] || { user=nobody group=nogroup; }

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/ca.key" -out "$dir/ca.pem" -days 30 \
	-subj "/CN=Test CA" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign 2>/dev/null

# pair NAME NUMBER DAYS: makes pairs/NAME.NUMBER.key and .pem, each of which expires later than those before it.
pair() {
	local base=$dir/pairs/$1.$2
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$base.key" -subj "/CN=$1" -out "$base.csr" \
		2>/dev/null
	printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\n' "$1" >"$base.ext"
	openssl x509 -req -in "$base.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days "$((5 + $2))" \
		-extfile "$base.ext" -out "$base.pem" 2>/dev/null
}

free_port() {
	perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}

names="certbot.test replaced.test ordered.test later.test busy.test link.test group.test chain.test around.test"
port=$(free_port)
configure() {
	cat <<-CONF
		user = "$user" keys_user = "$user" worker_user = "$user" gate_user = "$user" local_user = "$user" admin_group = "$group" host_keys = {}
		state = "$dir/state" run = "$dir/run" http = "127.0.0.1:$port" anchors = "$dir/ca.pem"
		authorized_keys = "$dir/gate/.ssh/authorized_keys"
		scan_interval = 1h # with it, only events can make a change seen so soon
		certificate "certbot.test" { watch = "$dir/w/live/certbot.test" }
		agent "mail" { certificates = {"certbot.test"} }
	CONF
	local name
	for name in $names; do
		[ "$name" = certbot.test ] || echo "certificate \"$name\" { watch = \"$dir/w/$name\" }"
	done
}

start() {
	"$dir/bin/certsync-hub-root" -c "$dir/hub.conf" 2>>"$dir/log" &
	root_pid=$!
}
daemon_pid() { ps -o pid=,args= --ppid "$root_pid" | awk '/certsync hub( |$)/ {print $1}'; }
watcher_pid() { ps -o pid=,args= --ppid "$root_pid" | awk '/ --watch( |$)/ {print $1}'; }
other_daemon() { local pid; pid=$(daemon_pid) && [ -n "$pid" ] && [ "$pid" != "$1" ]; }
other_watcher() { local pid; pid=$(watcher_pid) && [ -n "$pid" ] && [ "$pid" != "$1" ]; }
gone() { [ ! -e "/proc/$1" ] || [ "$(ps -o stat= -p "$1" | cut -c1)" = Z ]; }
logged() { grep -q -- "$1" "$dir/log"; }
times() { grep -c -- "$1" "$dir/log"; }
logged_times() { [ "$(times "$2")" -ge "$1" ]; }
fingerprint() { openssl x509 -in "$1" -noout -fingerprint -sha256 2>/dev/null; }
revision() { readlink "$dir/state/certificates/$1/current"; }
# published NAME NUMBER: whether the hub would distribute this pair.
published() {
	[ "$(fingerprint "$dir/state/certificates/$1/current/fullchain.pem")" = "$(fingerprint "$dir/pairs/$1.$2.pem")" ] &&
		cmp -s <(openssl pkey -in "$(key_of "$dir/state/certificates/$1/current/fullchain.pem")" -pubout 2>/dev/null) \
			<(openssl pkey -in "$dir/pairs/$1.$2.key" -pubout)
}
# Whether the watcher has an inotify watch on this directory, as the kernel tells.
watched() { grep -qs "^inotify .* ino:$(printf '%x' "$(stat -c %i "$1")") " "/proc/$(watcher_pid)"/fdinfo/*; }
unwatched() { ! watched "$1"; }
# Prints where certsync-keys has the key of a certificate.
key_of() {
	local id
	id=$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null | openssl pkey -pubin -outform der 2>/dev/null | sha256sum)
	echo "$dir/state-keys/leaf/${id%% *}.pem"
}
unpublished() { [ ! -e "$dir/state/certificates/$1/current" ]; }
soon() { wait_until 20 "$*" "$@"; }
# 3 means that no agent has converged, since there is none.
answers() { "$dir/bin/certsync" status -c "$dir/hub.conf" >/dev/null 2>&1 || [ "$?" -eq 3 ]; }

for name in $names; do
	for number in 1 2 3; do pair "$name" "$number"; done
done
configure >"$dir/hub.conf"

# certbot NUMBER: writes as certbot does, with its own modes: new files come into archive/, then each link is removed
# and made anew.
certbot() {
	local archive=$dir/w/archive/certbot.test live=$dir/w/live/certbot.test part
	( umask 077; mkdir -p "$archive" "$live" )
	install -m 600 "$dir/pairs/certbot.test.$1.key" "$archive/privkey$1.pem"
	install -m 644 "$dir/pairs/certbot.test.$1.pem" "$archive/cert$1.pem"
	install -m 644 "$dir/ca.pem" "$archive/chain$1.pem"
	cat "$dir/pairs/certbot.test.$1.pem" "$dir/ca.pem" >"$archive/fullchain$1.pem"
	for part in cert privkey chain fullchain; do
		rm -f "$live/$part.pem"
		ln -s "../../archive/certbot.test/$part$1.pem" "$live/$part.pem"
	done
}

mkdir "$dir/w/replaced.test" "$dir/w/ordered.test" "$dir/w/busy.test" "$dir/w/link.test"
certbot 1
start
ok "what is there at the start is published" soon published certbot.test 1
certbot 2
ok "certbot's renewal is published" soon published certbot.test 2

cp "$dir/pairs/replaced.test.1.key" "$dir/pairs/replaced.test.1.pem" "$dir/w/replaced.test"
ok "files copied into a directory are published" soon published replaced.test 1
watcher=$(watcher_pid)
mkdir "$dir/w/new"
cp "$dir/pairs/replaced.test.2.key" "$dir/pairs/replaced.test.2.pem" "$dir/w/new"
mv "$dir/w/replaced.test" "$dir/w/old" && mv "$dir/w/new" "$dir/w/replaced.test"
ok "a directory put in the other's place is published" soon published replaced.test 2
ok "and the watches have been made anew" soon other_watcher "$watcher"
cp "$dir/pairs/replaced.test.3.key" "$dir/w/replaced.test/replaced.test.2.key"
cp "$dir/pairs/replaced.test.3.pem" "$dir/w/replaced.test/replaced.test.2.pem"
ok "what is then written into it is seen" soon published replaced.test 3

cp "$dir/pairs/ordered.test.1.key" "$dir/w/ordered.test/privkey.pem"
ok "a key alone is waited with" soon logged 'certificate=ordered.test .*none of the 1 files'
head -c 300 "$dir/pairs/ordered.test.1.pem" >"$dir/w/ordered.test/fullchain.pem"
ok "half a chain is waited with" soon logged 'certificate=ordered.test .*none of the 2 files'
ok "and nothing was published" unpublished ordered.test
tail -c +301 "$dir/pairs/ordered.test.1.pem" >>"$dir/w/ordered.test/fullchain.pem"
ok "the whole chain is published" soon published ordered.test 1
cp "$dir/pairs/ordered.test.2.pem" "$dir/w/ordered.test/fullchain.pem"
ok "a chain before its key is waited with" soon logged_times 2 'certificate=ordered.test .*none of the 2 files'
cp "$dir/pairs/ordered.test.2.key" "$dir/w/ordered.test/.privkey.swp"
mv "$dir/w/ordered.test/.privkey.swp" "$dir/w/ordered.test/privkey.pem"
ok "an editor's rename of the key completes it" soon published ordered.test 2
is "each was published once" "$(revision ordered.test)" 1.2

ok "a directory that does not exist is said" logged "certificate=later.test .*No such file or directory"
mkdir -p "$dir/w/later.test"
cp "$dir/pairs/later.test.1.key" "$dir/pairs/later.test.1.pem" "$dir/w/later.test"
ok "it is seen when it comes" soon published later.test 1

watcher=$(watcher_pid)
kill -STOP "$watcher"
limit=$(cat /proc/sys/fs/inotify/max_queued_events)
perl -e 'for (1 .. $ARGV[1]) { open my $f, ">", "$ARGV[0]/$_.txt" or die; close $f; unlink "$ARGV[0]/$_.txt" }' \
	"$dir/w/busy.test" "$((limit / 3 + 100))"
cp "$dir/pairs/busy.test.1.key" "$dir/pairs/busy.test.1.pem" "$dir/w/busy.test"
kill -CONT "$watcher"
ok "after an overflow of inotify's queue everything is read" soon published busy.test 1
ok "and the watches have been made anew" soon other_watcher "$watcher"

mkfifo "$dir/w/busy.test/a.pem"
cp "$dir/pairs/busy.test.2.key" "$dir/w/busy.test/busy.test.1.key"
cp "$dir/pairs/busy.test.2.pem" "$dir/w/busy.test/busy.test.1.pem"
ok "a FIFO in the directory stops nobody" soon published busy.test 2

if [ "$(id -u)" -eq 0 ]; then
	chown nobody "$dir/w/link.test"
	install -m 600 "$dir/pairs/link.test.1.key" "$dir/w/secret.key"
	install -m 644 "$dir/pairs/link.test.1.pem" "$dir/w/link.test/chain.pem"
	ln -s ../secret.key "$dir/w/link.test/privkey.pem"
	ok "what its owner may not read is not read for him" soon logged 'certificate=link.test .*privkey.pem: Permission denied'
	ok "nor published" unpublished link.test
	install -o nobody -m 600 "$dir/pairs/link.test.2.key" "$dir/w/link.test/new.key"
	mv "$dir/w/link.test/new.key" "$dir/w/link.test/privkey.pem"
	install -m 644 "$dir/pairs/link.test.2.pem" "$dir/w/link.test/chain.pem"
	ok "his own key is" soon published link.test 2

	# In a directory of root's that a group may write, somebody of the group plants a link.
	install -d -g daemon -m 775 "$dir/w/group.test"
	install -m 644 "$dir/pairs/group.test.1.pem" "$dir/w/group.test/chain.pem"
	install -m 600 "$dir/pairs/group.test.1.key" "$dir/w/hidden.key"
	ln -s ../hidden.key "$dir/w/group.test/privkey.pem"
	ok "a directory that a group may write is read with the group's rights" soon logged \
		'certificate=group.test .*group [0-9]* may write .*Permission denied'
	ok "and what is not the group's is not published" unpublished group.test
	install -g daemon -m 640 "$dir/pairs/group.test.2.key" "$dir/w/group.test/new.key"
	mv "$dir/w/group.test/new.key" "$dir/w/group.test/privkey.pem"
	install -m 644 "$dir/pairs/group.test.2.pem" "$dir/w/group.test/chain.pem"
	ok "what the group may read is" soon published group.test 2

	# A link of root's leads to one of a user's, which leads back to files that are root's alone.
	install -d -o nobody "$dir/w/home"
	ln -s ../hidden "$dir/w/home/certs" && chown -h nobody "$dir/w/home/certs"
	install -d -m 700 "$dir/w/hidden"
	cp "$dir/pairs/chain.test.1.key" "$dir/pairs/chain.test.1.pem" "$dir/w/hidden"
	ln -s home/certs "$dir/w/chain.test"
	ok "a user's link on the way makes root read nothing for him" soon logged \
		'certificate=chain.test .*belongs to user 65534.*Permission denied'
	ok "and nothing is published from there" unpublished chain.test
	# The same happens within a directory of root's: its files are read with root's rights, and what the user's link
	# leads to with the user's.
	mkdir "$dir/w/around.test"
	ln -s ../home/key.pem "$dir/w/around.test/privkey.pem"
	ln -s ../hidden.key "$dir/w/home/key.pem" && chown -h nobody "$dir/w/home/key.pem"
	install -m 644 "$dir/pairs/around.test.1.pem" "$dir/w/around.test/chain.pem"
	ok "nor a user's link behind a link in a directory of root's" soon logged \
		'certificate=around.test .*privkey.pem: Permission denied'

	# Root's watcher must not watch a directory that a user's link leads to and that the user may not list.
	chmod 711 "$dir/w/hidden"
	install -m 600 "$dir/pairs/link.test.1.pem" "$dir/w/hidden/other.pem"
	ln -s ../hidden/other.pem "$dir/w/link.test/other.pem"
	ok "a link in a user's directory is seen" soon logged 'certificate=link.test .*other.pem: Permission denied'
	rm "$dir/w/link.test/other.pem"
	install -o nobody -m 600 "$dir/pairs/link.test.3.key" "$dir/w/link.test/new.key"
	mv "$dir/w/link.test/new.key" "$dir/w/link.test/privkey.pem"
	install -m 644 "$dir/pairs/link.test.3.pem" "$dir/w/link.test/chain.pem"
	ok "and all is read when it has gone" soon published link.test 3
	ok "it has made root watch nothing that he may not" unwatched "$dir/w/hidden"
	ok "though his own directory is watched" watched "$dir/w/link.test"
	# What cannot be read would be a fault of the configuration, which is read again below.
	rm "$dir/w/chain.test"
	ok "the daemon runs as the configured user" test "$(ps -o user= -p "$(daemon_pid)")" = nobody
	is "its state is its own alone" "$(stat -c '%U %a' "$dir/state")" "nobody 700"
fi

ok "the daemon answers" soon answers
before=$(daemon_pid)
kill -KILL "$before"
ok "a killed daemon is started again" soon other_daemon "$before"
certbot 3
ok "and hears of what changed meanwhile" soon published certbot.test 3
watcher=$(watcher_pid)
kill -KILL "$watcher"
ok "a killed watcher is started again" soon other_watcher "$watcher"
cp "$dir/pairs/busy.test.3.key" "$dir/w/busy.test/busy.test.1.key"
cp "$dir/pairs/busy.test.3.pem" "$dir/w/busy.test/busy.test.1.pem"
ok "and sees what changes" soon published busy.test 3

daemon=$(daemon_pid)
echo 'nonsense = 1' >>"$dir/hub.conf"
kill -HUP "$root_pid"
ok "a wrong configuration is refused with its line" soon logged "hub.conf:[0-9]*: there is no key nonsense"
is "and the daemon runs on" "$(daemon_pid)" "$daemon"
{ configure; echo "certificate \"more.test\" { watch = \"$dir/w/more.test\" }"; } >"$dir/hub.conf"
mkdir "$dir/w/more.test"
pair more.test 1
cp "$dir/pairs/more.test.1.key" "$dir/pairs/more.test.1.pem" "$dir/w/more.test"
kill -HUP "$root_pid"
ok "a right one is taken over, with a new directory" soon published more.test 1

ssh-keygen -q -t ed25519 -N '' -C '' -f "$dir/agent"
key=$(cut -d' ' -f1,2 "$dir/agent.pub")
mkdir -p "$dir/gate/.ssh"
echo "ssh-ed25519 AAAA of-an-administrator" >"$dir/gate/.ssh/authorized_keys"
identity="certsync-agent:1 $key x25519:$(head -c 32 /dev/urandom | base64)"
add() { "$dir/bin/certsync" agent add mail --key - -c "$dir/hub.conf" <<<"$identity"; }
sed -i '1i ssh = "certsync-gate@localhost"' "$dir/hub.conf"
reloads=$(times 'program=certsync-hub event=reload result=done')
kill -HUP "$root_pid"
ok "the daemon reads its configuration again too" \
	soon logged_times "$((reloads + 1))" 'program=certsync-hub event=reload result=done'
ok "an agent's key is taken" add
is "and stands in authorized_keys behind the lines of others" "$(cat "$dir/gate/.ssh/authorized_keys")" \
	"ssh-ed25519 AAAA of-an-administrator
restrict,command=\"mail:${key: -32}\" $key certsync:mail"

daemon=$(daemon_pid) watcher=$(watcher_pid)
kill -KILL "$root_pid"
wait "$root_pid" 2>/dev/null
ok "a daemon does not outlive its root half" soon gone "$daemon"
ok "nor does a watcher" soon gone "$watcher"
start
ok "a new one goes on" soon answers
is "without publishing anything anew" "$(revision certbot.test)" 1.3
daemon=$(daemon_pid) watcher=$(watcher_pid)
kill -TERM "$root_pid"
status=0
wait "$root_pid" || status=$?
root_pid=
is "SIGTERM ends it well" "$status" 0
ok "with the daemon" gone "$daemon"
ok "and the watcher" soon gone "$watcher"

sed -i 's/^http.*//; s/rollout.*//' "$dir/hub.conf"
echo "certificate \"certbot.test\" { }" >>"$dir/hub.conf"
output=$("$dir/bin/certsync-hub-root" -c "$dir/hub.conf" 2>&1)
is "with a wrong configuration nothing is started: exit 2" "$?" 2
ok "and the line is named" grep -q 'hub.conf:[0-9]*: certificate "certbot.test" is given twice' <<<"$output"

[ "$tests_failed" -eq 0 ] || note "$(cat "$dir/log")"
done_testing
