#!/bin/bash
# Rollouts on the whole topology, watched by a client that asks every endpoint over and over: a broken service halts the
# rollout before anyone has changed; a service that lies is undone, alone or with all; it is measured how long answers
# differ in a renewal, and no connection is lost.
#   CERTSYNC_RENEWALS=20 is the long run, with so many under each policy.
# Not under valgrind: the topology's machines know processes by name; each is valgrind there.
set -u
. "$(dirname "$(readlink -f "$0")")/../lib/lib.sh"
renewals=${CERTSYNC_RENEWALS:-2}
topology_begin

node_write client /usr/local/bin/sampler_tool <"$bin/../tests/sampler_tool"
node_do client chmod 755 /usr/local/bin/sampler_tool
node_write client /usr/local/lib/imap_sessions.py <"$lib/imap_sessions.py"

watched=()
for port in 25 110 143 443 465 587 993 995 8443; do watched+=("${TOPOLOGY_ADDRESS[haproxy]}:$port"); done
for name in mail backup1; do
	for port in 25 110 143 465 587 993 995; do watched+=("${TOPOLOGY_ADDRESS[$name]}:$port"); done
done

# ---- the sampler ----

# Each endpoint is asked five times a second. Without a pause the client would be the load under which Dovecot, which starts a process for
# each connection, greets nobody in time on a slow machine.
sampling() {
	node_do client rm -f /run/sampled
	node_do client /usr/local/bin/sampler_tool -p 200 -o /run/sampled "${watched[@]}" &
	sampler=$!
	wait_until 60 "the sampler to see every endpoint" node_do client test -e /run/sampled
}

stop_sampling() {
	node_do client pkill -TERM -x sampler_tool
	wait "$sampler"
	sampled=$(node_do client cat /run/sampled)
}

field() {
	awk -v key="$1" -v n="$2" '$1 == key {print $n}' <<<"$sampled"
}

leaves() {
	grep -c '^leaf' <<<"$sampled"
}

# ---- what the hub says ----

agent_field() {
	hub_status | jq -r --arg agent "$1" \
		".agents[] | select(.certificate == \"mail.domain.pl\" and .agent == \$agent).$2"
}

renew() {
	node_do haproxy timeout 600 certsync "${@:-renew}" mail.domain.pl
}

on_endpoint() {
	[ "$(served "$1" "$2" mail.domain.pl)" = "$3" ]
}

# Has the hub read its configuration again, changed by a sed script within the section of mail.domain.pl.
configure() {
	local before
	before=$(readings)
	node_do haproxy sed -i "/^certificate \"mail.domain.pl\"/,/^}/{$1}" /etc/certsync/hub.conf
	node_do haproxy pkill -HUP -x certsync-hub-ro
	wait_until 30 "the hub to read its configuration" read_since "$before"
	wait_until 90 "all agents to be back" all_connected
}

readings() {
	node_do haproxy grep -c 'reload.* certificates=' /var/log/certsync-hub-root.log
}

read_since() {
	[ "$(readings)" -gt "$1" ]
}

all_connected() {
	hub_status 2>/dev/null | jq -e '[.agents[] | select(.certificate == "mail.domain.pl").connected] | all and length == 4' >/dev/null
}

ok "mail.domain.pl is verified on every agent" wait_until 300 "the first rollout" converged mail.domain.pl
ok "HAProxy has found the mail servers behind it" wait_until 60 "every port of HAProxy" every_door_answers

# ---- Dovecot's configuration on mail is broken ----

first=$(wanted mail.domain.pl)
node_do mail cp /etc/dovecot/dovecot.conf /etc/dovecot/dovecot.conf.good
node_do mail sh -c 'echo "no_such_setting = yes" >>/etc/dovecot/dovecot.conf'
sampling
output=$(renew 2>&1)
is "Dovecot broken on mail: renew ends with some not converged" $? 3
ok "it shows Dovecot's own words" grep -q 'Unknown setting: no_such_setting' <<<"$output"
output=$(renew push 2>&1)
is "push halts likewise" $? 3
ok "and shows them too" grep -q 'Unknown setting: no_such_setting' <<<"$output"
stop_sampling
is "a client that asked all the time saw one certificate alone" "$(leaves)" 1
is "which is the old one" "$(field leaf 2)" "$(tr A-F a-f <<<"$first")"
is "and no handshake failed" "$(grep ^failed <<<"$sampled")" ""
note "$(field handshakes 2) handshakes while the rollout was halted"
output=$(renew push --proceed 2>&1)
is "push --proceed: mail has not converged" $? 3
second=$(wanted mail.domain.pl)
ok "HAProxy serves the new one" on_endpoint mail.domain.pl 443 "$second"
ok "so does backup1" on_endpoint backup1 993 "$second"
ok "mail serves the old one" on_endpoint mail 993 "$first"
node_do mail cp /etc/dovecot/dovecot.conf.good /etc/dovecot/dovecot.conf
ok "repaired, mail converges by itself" wait_until 180 "mail" converged mail.domain.pl
ok "and serves the new one" on_endpoint mail 993 "$second"

# ---- a service that passes its test, and then serves the old one ----

liar() {
	node_do mail cp /usr/lib/certsync/hooks/dovecot /usr/lib/certsync/hooks/dovecot.good
	node_write mail /usr/lib/certsync/hooks/dovecot <<-'HOOK'
		#!/bin/sh
		case $1 in
		test) [ ! -e /run/liar ] || { echo "the liar's test fails now" >&2; exit 1; } ;;
		reload) touch /run/liar; echo "the liar says that it has reloaded" ;;
		running) exit 0 ;;
		esac
	HOOK
}
honest() {
	node_do mail mv /usr/lib/certsync/hooks/dovecot.good /usr/lib/certsync/hooks/dovecot
	node_do mail rm -f /run/liar
}

liar
output=$(renew 2>&1)
is "a service that lies on mail: renew ends with some not converged" $? 3
third=$(wanted mail.domain.pl)
is "mail has failed, and is back" "$(agent_field mail rolled_back)" true
ok "mail serves the old one" on_endpoint mail 993 "$second"
ok "on Postfix's ports too" on_endpoint mail 25 "$second"
ok "the liar's words are shown" grep -q 'the liar says that it has reloaded' <<<"$output"
ok "what was served instead is shown" grep -qi "another certificate\|${second:0:16}" <<<"$output"
ok "backup1 keeps the new one" on_endpoint backup1 993 "$third"
honest
node_do haproxy timeout 600 certsync push mail.domain.pl >/dev/null 2>&1
ok "honest again, mail converges" wait_until 120 "mail" converged mail.domain.pl

liar
configure 's/^}/\ton_failure = "rollback_all"\n}/;'
output=$(renew 2>&1)
is "the same under rollback_all: renew ends with the new one nowhere" $? 3
ok "all ends with all on the old content, although mail's test still fails" wait_until 120 "the rollback" converged mail.domain.pl
is "which is the one before" "$(wanted mail.domain.pl)" "$third"
for place in "mail.domain.pl 443" "mail 993" "mail 25" "backup1 993"; do
	# shellcheck disable=SC2086 # an address and a port
	ok "$place serves it" on_endpoint $place "$third"
done
is "its source is a rollback" "$(node_do haproxy certsync history mail.domain.pl --json | jq -r '.revisions[-1].source')" rollback
honest
configure '/on_failure/d;'

# ---- how long answers differ, and whether a connection is lost ----

node_write mail /etc/dovecot/users <<<'anna:{PLAIN}secret'
node_do mail install -d -o mail -g mail /var/mail/anna
node_do client python3 /usr/local/lib/imap_sessions.py /etc/certsync/anchors.pem mail.domain.pl 5 \
	"${TOPOLOGY_ADDRESS[haproxy]}:993" "${TOPOLOGY_ADDRESS[mail]}:993" >"$stage/sessions" 2>&1 &
sessions=$!
ok "ten people read their mail" wait_until 30 "their sessions" grep -q ready "$stage/sessions"

times() {
	local count failed=0
	for ((count = 0; count < renewals; count++)); do
		renew >"$stage/renewal" 2>&1 || { failed=$((failed + 1)); cat "$stage/renewal" >&2; }
	done
	return $failed
}
for policy in together immediate; do
	configure "s/rollout = .*/rollout = \"$policy\"/;"
	sampling
	ok "$renewals renewals under $policy, each verified everywhere" times
	stop_sampling
	note "$policy: longest time in which two answers differed: $(field disagreement 2) ms, in $renewals renewals, $(field handshakes 2) handshakes"
	is "$policy: a client saw each renewal" "$(leaves)" $((renewals + 1))
	is "$policy: no handshake failed" "$(grep '^failed' <<<"$sampled")" ""
done
node_do client pkill -TERM -f imap_sessions.py
wait $sessions
is "no session was broken" "$(sed -n 's/.* \(broken [0-9]*\) .*/\1/p' "$stage/sessions")" "broken 0"
note "$(tail -n +2 "$stage/sessions")"

done_testing
