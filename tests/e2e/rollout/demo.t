#!/bin/bash
# The whole topology on real servers: a certificate by ACME is on every port, one by certbot beside it; it is looked at
# who links what and may what; and each process is killed while a renewal is under way.
# Not under valgrind: the topology's machines know processes by name; each is valgrind there.
set -u
. "$(dirname "$(readlink -f "$0")")/../lib/lib.sh"
topology_begin

# Prints a line for each endpoint that does not serve this fingerprint.
not_serving() {
	local want=$1 sni=$2 address port got
	shift 2
	while read -r address port; do
		got=$(served "$address" "$port" "$sni")
		[ "$got" = "$want" ] || echo "$address:$port serves $got"
	done
}

without_standby() {
	endpoints | grep -v '^backup2 '
}

everywhere() {
	local differing
	differing=$(without_standby | not_serving "$(wanted "$1")" "$1")
	[ -z "$differing" ] || { echo "wanted: $(wanted "$1")"; echo "$differing"; return 1; }
}

revision() {
	hub_status | jq -r --arg certificate "$1" '.certificates[] | select(.certificate == $certificate).revision'
}

agent_field() {
	hub_status | jq -r --arg certificate "$1" --arg agent "$2" \
		".agents[] | select(.certificate == \$certificate and .agent == \$agent).$3"
}

# ---- obtained, everywhere, renewed ----

ok "mail.domain.pl is verified on every agent by itself" wait_until 300 "the first rollout" converged mail.domain.pl
ok "HAProxy has found the mail servers behind it" wait_until 60 "every port of HAProxy" every_door_answers
ok "a client is served it on every port of HAProxy, mail and backup1" everywhere mail.domain.pl
is "the standby, whose servers are stopped, has it installed" "$(agent_field mail.domain.pl backup2 stopped)" true
first=$(wanted mail.domain.pl)
ok "certsync renew brings a new one everywhere and exits 0" node_do haproxy timeout 600 certsync renew mail.domain.pl
second=$(wanted mail.domain.pl)
ok "it is another one" test "$first" != "$second"
ok "a client is served the renewed one on every port" everywhere mail.domain.pl
greeting() {
	node_do client sh -c 'printf "a logout\r\n" | timeout 10 openssl s_client -quiet -connect mail.domain.pl:993 2>/dev/null' |
		grep -q '^\* OK'
}
ok "through HAProxy's 993 the mail server answers, its certificate being verified on the way" greeting
is "the mail server saw the client's address through the PROXY protocol" \
	"$(node_do mail grep -c 'imap-login.*rip=10.77.0.50, lip=10.77.0.20' /var/log/dovecot.log | sed 's/[1-9][0-9]*/some/')" some

# ---- certbot beside it ----

is "watched.domain.pl is the placeholder before certbot ran" "$(revision watched.domain.pl)" 0.0
ok "certbot gets watched.domain.pl through HAProxy" certbot_run certonly
is "certbot's directories are root's alone" "$(node_do haproxy stat -c '%a %U' /etc/letsencrypt/live /etc/letsencrypt/archive | sort -u)" "700 root"
is "certbot's live/ holds links" "$(node_do haproxy stat -c %F /etc/letsencrypt/live/watched.domain.pl/privkey.pem)" "symbolic link"
is "certbot's key is root's alone" "$(node_do haproxy stat -Lc '%a %U' /etc/letsencrypt/live/watched.domain.pl/privkey.pem)" "600 root"
ok "it is verified on every agent without a command" wait_until 60 "the rollout of what certbot wrote" converged watched.domain.pl
ok "a client that asks for it by SNI is served it on every port" everywhere watched.domain.pl
ok "mail.domain.pl is still served on every port" everywhere mail.domain.pl
certbot_fingerprint() {
	node_do haproxy openssl x509 -noout -fingerprint -sha256 -in /etc/letsencrypt/live/watched.domain.pl/cert.pem |
		sed 's/.*=//; s/://g'
}
is "what is served is what certbot wrote" "$(wanted watched.domain.pl)" "$(certbot_fingerprint)"
watched=$(wanted watched.domain.pl)
follows() {
	[ "$(wanted watched.domain.pl)" = "$(certbot_fingerprint)" ] && converged watched.domain.pl
}
ok "certbot renews it: its links are swapped" certbot_run certonly --force-renewal
ok "the renewal follows everywhere" wait_until 60 "certbot's renewal" follows
ok "a client is served certbot's renewal on every port" everywhere watched.domain.pl
ok "it is another one" test "$watched" != "$(wanted watched.domain.pl)"

# ---- who runs, and what is in them ----

pids() {
	node_do "$1" pgrep -f "^(/usr/lib/certsync/|/usr/s?bin/)?$2( |$)"
}

user_of() {
	node_do "$1" ps -o user:20= -p "$(pids "$1" "$2" | head -n 1)" | tr -d ' '
}

maps() {
	local pid
	for pid in $(pids "$1" "$2"); do
		node_do "$1" sed -nE 's|.*/(lib[^/]*)\.so.*|\1|p' "/proc/$pid/maps"
	done | sort -u
}

is "the hub's root half is root's" "$(user_of haproxy certsync-hub-root)" root
is "the hub is certsync-hub's" "$(user_of haproxy 'certsync hub')" certsync-hub
is "the gate is certsync-gate's" "$(user_of haproxy certsync-gate)" certsync-gate
is "the agent's root half is root's" "$(user_of mail certsync-agent-root)" root
is "the agent is certsync-agent's" "$(user_of mail 'certsync-agent run')" certsync-agent
is "its link is certsync-agent's" "$(user_of mail certsync-link)" certsync-agent

links() {
	maps "$1" "$2" | grep -xE "$3" | tr '\n' ' '
}
everything='libssh|libcjson|libcurl|libevent.*|libinotifytools|libcrypto|libssl|libconfuse|libgnutls'
is "the hub's root half: inotifytools alone" "$(links haproxy certsync-hub-root "$everything")" "libinotifytools "
is "the hub: OpenSSL and cJSON, no libssh" "$(links haproxy 'certsync hub' 'libcjson|libconfuse|libcrypto|libssh')" \
	"libcjson libcrypto "
is "the gate: libc alone" "$(links haproxy certsync-gate "$everything")" ""
is "the agent's root half: libcrypto alone" "$(links mail certsync-agent-root "$everything")" "libcrypto "
is "libssh is in the link" "$(links mail certsync-link libssh)" "libssh "
is "and not in the agent" "$(links mail 'certsync-agent run' 'libssh|libcurl')" ""
keyless() {
	! node_do mail setpriv --reuid certsync-agent --regid certsync-agent --clear-groups \
		cat /etc/certsync/live/mail.domain.pl/privkey.pem
}
ok "the agent's user cannot read a TLS key" keyless

# ---- kill -9 while a renewal is under way ----

# killed NODE PATTERN [STATE]: kills these processes in a renewal, once the mail agent is in STATE (or past it, when
# that went by unseen).
killed() {
	local node=$1 pattern=$2 state=${3:-offered} pid before renewal
	before=$(revision mail.domain.pl)
	node_do haproxy timeout 600 certsync renew mail.domain.pl >/dev/null 2>&1 &
	renewal=$!
	wait_until 60 "the agent to be $state" under_way "$before" "$state" || return 1
	for pid in $(pids "$node" "$pattern"); do
		# A process that has gone with its parent, which was killed a moment ago, counts as killed, too.
		node_do "$node" sh -c 'kill -KILL "$1" || ! kill -0 "$1"' sh "$pid" || return 1
	done
	wait "$renewal"
	wait_until 120 "convergence" converged mail.domain.pl && everywhere mail.domain.pl
}

under_way() {
	local now
	now=$(revision mail.domain.pl) && [ -n "$now" ] && [ "$now" != "$1" ] || return 1
	[[ $(agent_field mail.domain.pl mail state) =~ ^($2|activating|installed|verified)$ ]]
}

ok "kill -9 of the hub in a renewal: all converges" killed haproxy "certsync hub"
ok "kill -9 of the hub's root half: all converges" killed haproxy certsync-hub-root
ok "kill -9 of every gate: all converges" killed haproxy certsync-gate
ok "kill -9 of sshd's children: all converges" killed haproxy "sshd: certsync-gate.*"
ok "kill -9 of an agent: all converges" killed mail "certsync-agent run"
ok "kill -9 of an agent that activates: all converges" killed mail "certsync-agent run" activating
ok "kill -9 of its root half: all converges" killed mail certsync-agent-root
ok "kill -9 of a root half that activates: all converges" killed mail certsync-agent-root activating
ok "kill -9 of its link: all converges" killed mail certsync-link
ok "kill -9 of the agent beside the hub: all converges" killed haproxy "certsync-agent run"
ok "kill -9 of the root half beside the hub: all converges" killed haproxy certsync-agent-root

# ---- the standby takes over ----

mail_servers_up backup2
standby_differs() {
	endpoints backup2 | not_serving "$(wanted "$1")" "$1"
}
is "the standby's servers come up with mail.domain.pl of today" "$(standby_differs mail.domain.pl)" ""
is "and with watched.domain.pl" "$(standby_differs watched.domain.pl)" ""

# ---- the end ----

root_halves="certsync-hub-root certsync-agent-root"
stop_all() {
	local name program
	for name in $AGENT_NODES; do
		for program in $root_halves; do
			node_do "$name" pkill -TERM -f "^/bin/bash /usr/local/lib/node/supervise $program " || [ $? -eq 1 ]
		done
	done
}
all_ended() {
	local name
	for name in $AGENT_NODES; do
		! node_do "$name" pgrep -f '^(/usr/lib/certsync/)?certsync' || return 1
	done
}
stop_all
ok "TERM of the root halves ends all of it" wait_until 30 "the end of all programs" all_ended
reports() {
	local name
	for name in $AGENT_NODES; do
		node_do "$name" sh -c 'sed -n "/ERROR: .*Sanitizer/,/SUMMARY/p; /runtime error/p" /var/log/certsync-*.log'
	done
}
is "no program has reported a fault of its own" "$(reports)" ""

done_testing
