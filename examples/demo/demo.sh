#!/bin/bash
# certsync on real servers: `make demo`. A certificate from a real ACME server, a renewal that follows it everywhere,
# and what a client was served on every address and port, before and after.
#
#   demo.sh                        runs and cleans up; KEEP=1 leaves it running
#   demo.sh stop                   ends a kept one
#   demo.sh enter NODE [COMMAND…]  a shell, or one command, in a node: ca haproxy mail backup1 backup2 client
#   demo.sh certbot                lets certbot get (or renew) watched.domain.pl in a kept one
set -eEuo pipefail
source=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$source/../..")
# shellcheck source=examples/demo/topology.sh
. "$source/topology.sh"
# shellcheck source=examples/demo/services.sh
. "$source/services.sh"

MAKE=${MAKE:-make}
kept=
work=
began=$EPOCHREALTIME

# Seconds with milliseconds between two EPOCHREALTIMEs.
span() {
	local microseconds=$((${2/./} - ${1/./}))
	printf '%d.%03d' $((microseconds / 1000000)) $((microseconds / 1000 % 1000))
}

stage() {
	printf '%8s s  %s\n' "$(span "$began" "$EPOCHREALTIME")" "$*"
}

need_root() {
	[ "$(id -u)" -ne 0 ] || return 0
	echo "the demo makes network namespaces and mounts, for which it needs root: run  sudo make $1" >&2
	exit 1
}

finish() {
	local status=$?
	trap '' INT TERM HUP
	set +e
	# We may have been interrupted inside of a redirection.
	exec >&7 2>&8
	if [ -n "$work" ]; then
		# shellcheck disable=SC2046 # one number a word
		[ -z "$(jobs -pr)" ] || kill $(jobs -pr)
		[ "$status" -eq 0 ] || [ "$status" -gt 128 ] || show_failure
		rm -rf "$work"
		rm -f "$TOPOLOGY_STATE/pid"
		[ -n "$kept" ] || { topology_down && stage "everything is removed"; }
	fi
	exit "$status"
}

# What a person needs when the demo did not get to its end.
show_failure() {
	local name
	echo "the demo failed; what the programs say:" >&2
	for name in $AGENT_NODES; do
		node_lives "$name" || continue
		node_do "$name" sh -c 'tail -n 12 -v /var/log/certsync-*.log' >&2
	done
	! node_lives haproxy || node_do haproxy certsync status >&2
}

build() {
	stage "looking for missing packages"
	"$top/packaging/install-packages"
	stage "building"
	# shellcheck disable=SC2086 # a command with its arguments
	{
		$MAKE --no-print-directory -C "$top" all
		$MAKE --no-print-directory -C "$top" install DESTDIR="$work/stage" >/dev/null
	}
}

# One line an endpoint: ADDRESS PORT FINGERPRINT.
look() {
	local address port
	while read -r address port; do
		echo "$address $port $(served "$address" "$port" mail.domain.pl)"
	done
}

# Asks until each endpoint of the lines "ADDRESS PORT OLD" serves something else, and writes ADDRESS PORT TIME then.
sample() {
	local pending=() rest line address port old now end=$((SECONDS + 180))
	mapfile -t pending
	while ((${#pending[@]} && SECONDS < end)); do
		rest=()
		for line in "${pending[@]}"; do
			read -r address port old <<<"$line"
			now=$(served "$address" "$port" mail.domain.pl)
			if [ "$now" = "$old" ] || [ "$now" = - ]; then
				rest+=("$line")
			else
				echo "$address $port $EPOCHREALTIME"
			fi
		done
		pending=("${rest[@]}")
	done
}

# Renews while four samplers look from the client's side.
renew() {
	local number
	ordered=$EPOCHREALTIME
	for number in 0 1 2 3; do
		awk -v n="$number" '$3 != "-" && NR % 4 == n' "$work/before" | sample >"$work/changed.$number" &
	done
	node_do haproxy certsync renew mail.domain.pl | sed 's/^/            | /'
	wait
	cat "$work"/changed.* >"$work/changed"
}

column() {
	awk -v a="$1" -v p="$2" '$1 == a && $2 == p {print $3}' "$3"
}

short() {
	echo "${1:0:24}"
}

table() {
	local address port now before changed bad=0 want
	want=$(wanted mail.domain.pl)
	printf '\n%-15s %5s  %-24s  %-24s  %-5s  %s\n' ADDRESS PORT BEFORE AFTER MATCH "NEW AFTER"
	while read -r address port now; do
		before=$(column "$address" "$port" "$work/before")
		changed=$(column "$address" "$port" "$work/changed")
		if [ "$now" = "$want" ] && [ "$now" != "$before" ]; then match=yes; else match=NO bad=1; fi
		[ "$before" != - ] || before="(stopped)"
		printf '%-15s %5s  %-24s  %-24s  %-5s  %s\n' "$address" "$port" "$(short "$before")" "$(short "$now")" $match \
			"$([ -z "$changed" ] || echo "$(span "$ordered" "$changed") s")"
	done <"$work/after"
	printf '\nSHA-256 of the certificate: %s\n' "$want"
	return $bad
}

times() {
	local first last
	first=$(cut -d' ' -f3 "$work/changed" | sort | head -n 1)
	last=$(cut -d' ' -f3 "$work/changed" | sort | tail -n 1)
	echo "A client saw the new one on the first endpoint $(span "$ordered" "$first") s after \`certsync renew\` was typed (the order is in"
	echo "it), on the last of $(wc -l <"$work/changed") endpoints $(span "$ordered" "$last") s after it: all changed within $(span "$first" "$last") s, as sampled."
}

explain_kept() {
	cat <<-TEXT

		It is left running. To look around:
		  ip netns exec cs-client openssl s_client -connect mail.domain.pl:993
		  ip netns exec cs-client openssl s_client -connect mail.domain.pl:25 -starttls smtp
		  ip netns exec cs-client openssl s_client -connect backup1:143 -starttls imap -servername mail.domain.pl
		  $source/demo.sh enter haproxy certsync status
		  $source/demo.sh enter haproxy certsync renew mail.domain.pl
		  $source/demo.sh enter mail            (a shell there; logs are in /var/log)
		watched.domain.pl is published from /etc/letsencrypt/live/watched.domain.pl in cs-haproxy, whatever writes there:
		  $source/demo.sh certbot
		  ip netns exec cs-client openssl s_client -connect mail.domain.pl:993 -servername watched.domain.pl
		From outside, a node's files are under /proc/PID/root (cs-haproxy: PID ${topology_pid[haproxy]}).
		To end it:
		  make demo-stop
	TEXT
}

show() {
	stage "making the nodes: ${TOPOLOGY_NODES// /, } (network namespaces cs-…)"
	topology_up "$work/stage"
	stage "starting Pebble in cs-ca"
	ca_up
	stage "starting the agents' root halves: placeholders, so that servers can start"
	agents_up
	stage "starting HAProxy, sshd, Postfix and Dovecot (cs-backup2 is a cold standby: its servers stay stopped)"
	servers_up
	stage "starting the hub, which orders mail.domain.pl through HAProxy"
	hub_up
	stage "joining the agents, pinned by hand"
	agents_join
	stage "waiting until every endpoint has been seen serving mail.domain.pl"
	wait_until 120 "mail.domain.pl to be verified everywhere" converged mail.domain.pl
	wait_until 60 "HAProxy to find the mail servers" every_door_answers
	stage "asking every address and port from cs-client"
	endpoints | look >"$work/before"
	stage "renewing: certsync renew mail.domain.pl"
	renew
	wait_until 120 "the renewal to be verified everywhere" converged mail.domain.pl
	stage "verified everywhere; starting the servers of cs-backup2"
	mail_servers_up backup2
	stage "asking every address and port from cs-client"
	endpoints | look >"$work/after"
	table
	times
}

start() {
	need_root demo
	topology_lock || exit 1
	exec 7>&1 8>&2
	trap finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	work=$(mktemp -d -t certsync-demo-work.XXXXXXXX)
	echo $$ >"$TOPOLOGY_STATE/pid"
	build
	show
	if [ -n "${KEEP:-}" ]; then
		kept=yes
		explain_kept
	fi
}

# A running demo.sh cleans up by itself when it is told to end; a kept one has none any more.
stop() {
	local pid
	need_root demo-stop
	if [ -e "$TOPOLOGY_STATE/pid" ]; then
		pid=$(<"$TOPOLOGY_STATE/pid")
		if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q demo.sh; then
			kill -TERM "$pid"
			wait_until 200 "demo.sh ($pid) to end" test ! -e "/proc/$pid"
		fi
	fi
	[ -e "$TOPOLOGY_STATE/scratch" ] || { echo "no demo is running"; exit 0; }
	topology_down
	echo "the demo is ended and removed"
}

enter() {
	need_root "demo KEEP=1, and then as root: $0 enter …"
	topology_attach
	local name=${1:-}
	if ! node_lives "${name#cs-}"; then
		echo "there is no node \"$name\"; there are: $TOPOLOGY_NODES" >&2
		exit 2
	fi
	shift
	[ $# -gt 0 ] || set -- /bin/bash
	node_do "${name#cs-}" "$@"
}

case ${1-start} in
start) start ;;
stop) stop ;;
enter) shift && enter "$@" ;;
certbot) topology_attach && certbot_run certonly --force-renewal ;;
*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
