# shellcheck shell=bash disable=SC2034,SC2154,SC2016 # sourced; the rest of each is in the other
# The topology as network namespaces, for examples/demo/demo.sh and tests/e2e to source. Needs root.
#
# A node is a network namespace cs-NODE with an address of its own on one bridge (in a namespace too, cs-net), and a first
# process (node/init) in mount, PID, UTS and IPC namespaces of its own, over an overlay of this machine's root: its own users,
# its own /etc, /var and /run. So default paths are used everywhere, and nothing of the machine is read or changed. Ending the first
# process ends all that runs in the node.
#
#   topology_lock [SECONDS] takes the one place, waiting so long for it; or says who has it
#   topology_up STAGE      makes all nodes; STAGE has what `make install DESTDIR=STAGE` put there
#   topology_down          ends and removes everything
#   node_do NODE COMMAND…  runs a command in a node and waits for it
#   node_start NODE NAME COMMAND…  starts a service that is restarted when it ends
#   wait_until SECONDS WHAT COMMAND…  asks until COMMAND succeeds; fails loudly after SECONDS

TOPOLOGY_NODES="ca haproxy mail backup1 backup2 client"
TOPOLOGY_MAIL="mail backup1 backup2"
declare -A TOPOLOGY_ADDRESS=([ca]=10.77.0.10 [haproxy]=10.77.0.20 [mail]=10.77.0.30 [backup1]=10.77.0.41
	[backup2]=10.77.0.42 [client]=10.77.0.50)
TOPOLOGY_STATE=/run/certsync-demo
TOPOLOGY_SOURCE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
TOPOLOGY_CONFIGURATION=$(readlink -f "$TOPOLOGY_SOURCE/../nodes")
topology_scratch=
declare -A topology_pid=()

topology_hosts() {
	cat <<-HOSTS
		127.0.0.1 localhost
		${TOPOLOGY_ADDRESS[ca]} acme.domain.pl ca
		${TOPOLOGY_ADDRESS[haproxy]} haproxy.domain.pl haproxy mail.domain.pl smtp.domain.pl imap.domain.pl www.domain.pl watched.domain.pl
		${TOPOLOGY_ADDRESS[mail]} cs-mail.domain.pl cs-mail mail
		${TOPOLOGY_ADDRESS[backup1]} cs-backup1.domain.pl cs-backup1 backup1
		${TOPOLOGY_ADDRESS[backup2]} cs-backup2.domain.pl cs-backup2 backup2
		${TOPOLOGY_ADDRESS[client]} client.domain.pl client
	HOSTS
}

# The lock is held by descriptor 9, which the nodes' outer processes inherit: it stays taken while any node lives. Descriptors 7
# and 8 are the caller's, and no node gets them.
topology_lock() {
	local end=$((SECONDS + ${1:-0}))
	while :; do
		mkdir -p "$TOPOLOGY_STATE"
		exec 9>>"$TOPOLOGY_STATE/lock"
		# The one before removes the file at its end: what we hold must be the one that others see.
		if flock --timeout "$((end > SECONDS ? end - SECONDS : 0))" 9 && [ "$TOPOLOGY_STATE/lock" -ef /proc/self/fd/9 ]; then
			break
		fi
		((SECONDS < end)) && continue
		echo "the topology is running already (or is kept); end it with: make demo-stop" >&2
		return 1
	done
	local name
	for name in net $TOPOLOGY_NODES; do
		if [ -e "/run/netns/cs-$name" ] && ! [ -e "$TOPOLOGY_STATE/scratch" ]; then
			echo "there is a network namespace cs-$name that is not ours; remove it first: ip netns delete cs-$name" >&2
			return 1
		fi
	done
	# What a demo left that was killed without a chance to clean up.
	[ ! -e "$TOPOLOGY_STATE/scratch" ] || topology_remove
}

topology_check() {
	local problem
	problem=$(unshare --mount --propagation private bash -c '
		mount -t tmpfs none "$1" && mkdir "$1/u" "$1/w" "$1/r" &&
		mount -t overlay -o "lowerdir=/,upperdir=$1/u,workdir=$1/w" none "$1/r" && test -x "$1/r/bin/sh"' \
		check "$topology_scratch" 2>&1) && return
	echo "a node is an overlay over this machine's root, and that cannot be mounted here: $problem" >&2
	echo "(in a container it needs CAP_SYS_ADMIN and a root file system that overlayfs can lie on)" >&2
	return 1
}

topology_network() {
	local name
	ip netns add cs-net
	ip -n cs-net link add bridge type bridge
	ip -n cs-net link set bridge up
	for name in $TOPOLOGY_NODES; do
		ip netns add "cs-$name"
		ip -n cs-net link add "$name" type veth peer name eth0 netns "cs-$name"
		ip -n cs-net link set "$name" master bridge up
		ip -n "cs-$name" link set lo up
		ip -n "cs-$name" address add "${TOPOLOGY_ADDRESS[$name]}/24" dev eth0
		ip -n "cs-$name" link set eth0 up
		# For `ip netns exec cs-client …` from outside.
		mkdir -p "/etc/netns/cs-$name"
		topology_hosts >"/etc/netns/cs-$name/hosts"
	done
}

topology_node() {
	local name=$1 stage=$2 files=$topology_scratch/$1.files pid fd
	mkdir "$topology_scratch/$name" "$files"
	mkdir -p "$files/usr/local/lib"
	cp -R "$stage/." "$files/"
	cp -R "$TOPOLOGY_SOURCE/node" "$files/usr/local/lib/"
	[ ! -d "$TOPOLOGY_CONFIGURATION/$name" ] || cp -R "$TOPOLOGY_CONFIGURATION/$name/." "$files/"
	topology_hosts >"$topology_scratch/$name.hosts"
	mkfifo "$topology_scratch/$name.ready"
	exec {fd}<>"$topology_scratch/$name.ready"
	setsid ip netns exec "cs-$name" unshare --mount --propagation private --pid --uts --ipc --fork --kill-child \
		"$TOPOLOGY_SOURCE/node/init" "$topology_scratch/$name" "cs-$name" "$files" \
		3>"$topology_scratch/$name.ready" {fd}>&- 7>&- 8>&- </dev/null >"$topology_scratch/$name.log" 2>&1 &
	disown
	if ! read -r -t 60 -u "$fd" pid; then
		echo "the node cs-$name did not come up:" >&2
		cat "$topology_scratch/$name.log" >&2
		return 1
	fi
	exec {fd}>&-
	topology_pid[$name]=$pid
	echo "$name $pid" >>"$TOPOLOGY_STATE/nodes"
}

topology_up() {
	local stage=$1 name
	topology_scratch=$(mktemp -d -t certsync-demo.XXXXXXXX)
	echo "$topology_scratch" >"$TOPOLOGY_STATE/scratch"
	: >"$TOPOLOGY_STATE/nodes"
	topology_check
	topology_network
	for name in $TOPOLOGY_NODES; do
		topology_node "$name" "$stage"
	done
}

# Finds a running topology, for commands that come later.
topology_attach() {
	local name pid
	[ -e "$TOPOLOGY_STATE/scratch" ] || {
		echo "no topology is running; start one with: make demo KEEP=1" >&2
		return 1
	}
	topology_scratch=$(<"$TOPOLOGY_STATE/scratch")
	while read -r name pid; do
		topology_pid[$name]=$pid
	done <"$TOPOLOGY_STATE/nodes"
}

# A process number is only believed while that process is in the node's network namespace.
node_lives() {
	[ -n "${topology_pid[${1:-none}]-}" ] && [ "$(ip netns identify "${topology_pid[$1]}" 2>/dev/null)" = "cs-$1" ]
}

# The outer process of a node is found by the path that only it was given; the node's first process dies with it.
topology_outer() {
	pgrep -f "^unshare .*/node/init $topology_scratch/" || [ $? -eq 1 ]
}

topology_is_quiet() {
	local name
	[ -z "$(topology_outer)" ] || return 1
	for name in "${!topology_pid[@]}"; do
		! node_lives "$name" || return 1
	done
}

topology_remove() {
	local name pid
	topology_attach
	for pid in $(topology_outer); do
		kill -KILL "$pid"
	done
	wait_until 20 "the end of the nodes" topology_is_quiet
	for name in net $TOPOLOGY_NODES; do
		[ ! -e "/run/netns/cs-$name" ] || ip netns delete "cs-$name"
		[ ! -e "/etc/netns/cs-$name/hosts" ] || rm "/etc/netns/cs-$name/hosts"
		[ ! -d "/etc/netns/cs-$name" ] || rmdir "/etc/netns/cs-$name"
	done
	[ ! -d /etc/netns ] || rmdir --ignore-fail-on-non-empty /etc/netns
	rm -rf --one-file-system "$topology_scratch"
	rm -f "$TOPOLOGY_STATE/scratch" "$TOPOLOGY_STATE/nodes"
}

topology_down() {
	[ ! -e "$TOPOLOGY_STATE/scratch" ] || topology_remove
	# In this order: who waits for the lock finds that its file is gone, and makes a new one.
	rm -rf "$TOPOLOGY_STATE"
	exec 9>&-
}

node_do() {
	local name=$1
	shift
	nsenter --target "${topology_pid[$name]}" --mount --uts --ipc --net --pid --root --wd \
		env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" HOME=/root "$@" 7>&- 8>&- 9>&-
}

node_start() {
	local name=$1
	shift
	node_do "$name" setsid --fork /usr/local/lib/node/supervise "$@"
}

# Writes standard input to a file of a node.
node_write() {
	# shellcheck disable=SC2016 # expanded in the node
	node_do "$1" sh -c 'cat >"$1"' write "$2"
}

wait_until() {
	local seconds=$1 what=$2 pause=0.1 end=$((SECONDS + $1 * ${CERTSYNC_PATIENCE:-1}))
	shift 2
	until "$@"; do
		if ((SECONDS >= end)); then
			echo "waited $seconds s for $what" >&2
			return 1
		fi
		sleep "$pause"
	done
}
