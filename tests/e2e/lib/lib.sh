# shellcheck shell=bash disable=SC2034 # sourced
# TAP for stories in bash, and the topology of examples/demo with everything installed and running in it.
#
#   ok TEXT COMMAND…          one test: whether COMMAND succeeds; its output is shown when not
#   is TEXT GOT EXPECTED      one test: whether two texts are equal
#   note TEXT                 a line of commentary
#   done_testing              the plan, at the end; the exit status
#   needs_root WHAT           at the start; whoever is not root is told what is not run
#   topology_begin            nodes, CA, servers, hub, agents; all gone when the script ends, however it ends

tests_run=0 tests_failed=0
lib=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
bin=${CERTSYNC_BIN:-$lib/../../../build/bin}
# shellcheck source=examples/demo/topology.sh
. "$lib/../../../examples/demo/topology.sh"
# shellcheck source=examples/demo/services.sh
. "$lib/../../../examples/demo/services.sh"

note() {
	printf '%s\n' "$*" | sed 's/^/# /'
}

report() {
	tests_run=$((tests_run + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tests_run - $2"
		return
	fi
	tests_failed=$((tests_failed + 1))
	echo "not ok $tests_run - $2"
	# The word goes to standard error, which prove shows whether it was asked for details or not.
	note "failed: $2" >&2
}

ok() {
	local text=$1 output status=0
	shift
	output=$("$@" 2>&1) || status=$?
	report "$status" "$text"
	[ "$status" -eq 0 ] || note "exit $status: ${output:-no output}" >&2
}

is() {
	[ "$2" = "$3" ] && report 0 "$1" && return
	report 1 "$1"
	note "got:      $2" >&2
	note "expected: $3" >&2
}

done_testing() {
	echo "1..$tests_run"
	[ "$tests_failed" -eq 0 ] || [ -z "$topology_scratch" ] || topology_logs >&2
	[ "$tests_failed" -eq 0 ]
}

needs_root() {
	[ "$(id -u)" -ne 0 ] || return 0
	[ -z "${CERTSYNC_NOT_RUN-}" ] || echo "$0: needs root: $*" >>"$CERTSYNC_NOT_RUN"
	echo "1..0 # SKIP needs root: $*"
	exit 0
}

bail_out() {
	topology_logs >&2
	echo "Bail out!  $*"
	exit 1
}

topology_logs() {
	local name
	for name in $AGENT_NODES; do
		! node_lives "$name" || note "$(node_do "$name" sh -c 'tail -n 40 -v /var/log/certsync-*.log' 2>&1)"
	done
	! node_lives haproxy || note "$(node_do haproxy certsync status 2>&1)"
}

topology_end() {
	local status=$?
	trap '' INT TERM HUP
	topology_down
	rm -rf "$stage"
	exit "$status"
}

# Lays out the programs as `make install` does, from the build that is tested.
stage_programs() {
	install -d "$stage/usr/lib/certsync/hooks" "$stage/usr/bin" "$stage/usr/sbin"
	install -m 755 "$bin"/certsync* "$stage/usr/lib/certsync"
	install -m 755 "$bin"/hooks/* "$stage/usr/lib/certsync/hooks"
	ln -s ../lib/certsync/certsync ../lib/certsync/certsync-agent "$stage/usr/bin"
	ln -s ../lib/certsync/certsync-hub-root ../lib/certsync/certsync-agent-root "$stage/usr/sbin"
}

topology_begin() {
	needs_root 'network namespaces and mounts'
	topology_lock 900 || { echo "Bail out!  the topology is in use"; exit 1; }
	stage=$(mktemp -d -t certsync-stage.XXXXXXXX)
	trap topology_end EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	stage_programs
	{ topology_up "$stage" && ca_up && agents_up && servers_up && hub_up && agents_join; } >"$stage/log" 2>&1 || {
		note "$(cat "$stage/log")" >&2
		bail_out "the topology did not come up"
	}
}
