#!/bin/bash
# On the whole topology an old file is copied over HAProxy's: the hub sees it from outside, and a person gets one mail,
# by the topology's own Postfix, that says what is served where and what should be. When it is put right, another mail
# says so.
# Not under valgrind: the topology's machines know processes by name; each is valgrind there.
set -u
. "$(dirname "$(readlink -f "$0")")/../lib/lib.sh"
topology_begin

renew() {
	node_do haproxy timeout 600 certsync renew mail.domain.pl
}

# Makes a mailbox on the node mail.
node_do mail useradd --create-home hostmaster
node_do mail postconf -e "mydestination = domain.pl" "home_mailbox = Maildir/" "mynetworks = 127.0.0.0/8 ${TOPOLOGY_ADDRESS[haproxy]}/32"
node_do mail postfix reload >>"$topology_scratch/mail.log" 2>&1

ok "mail.domain.pl is verified on every agent" wait_until 300 "the first rollout" converged mail.domain.pl
ok "HAProxy has found the mail servers behind it" wait_until 60 "every port of HAProxy" every_door_answers
old=$(wanted mail.domain.pl)
node_do haproxy cp /etc/certsync/live/mail.domain.pl/haproxy.pem /root/old.pem
ok "it is renewed" renew
new=$(wanted mail.domain.pl)

node_do haproxy sh -c 'cat >>/etc/certsync/hub.conf' <<CONF
endpoint "mail.domain.pl" { ports = {"443", "993", "25"}  interval = "10s" }
alert {
	email = {"hostmaster@domain.pl"}  from = "certsync@domain.pl"  smtp = "smtp://${TOPOLOGY_ADDRESS[mail]}:25"
	for = "5s"
}
CONF
node_do haproxy pkill -HUP -x certsync-hub-ro
states() {
	hub_status 2>/dev/null | jq -r '[.endpoints[]?.verdict] | join(" ")'
}
all_are() {
	[ "$(states)" = "$1 $1 $1" ]
}
ok "the hub checks three ports from outside: all serve it" wait_until 60 "the first checks" all_are ok

# ---- an old file, while a person keeps the agent from putting it right ----

mails() {
	node_do mail sh -c 'cat /home/hostmaster/Maildir/new/* 2>/dev/null'
}
count() {
	mails | grep -c "^Subject: certsync: $1"
}
has_come() {
	[ "$(count "$1")" -ge 1 ]
}
on_443() {
	[ "$(served mail.domain.pl 443 mail.domain.pl)" = "$1" ]
}
node_do haproxy certsync hold haproxy --for 10m >/dev/null
node_do haproxy sh -c 'cat /root/old.pem >/etc/certsync/live/mail.domain.pl/haproxy.pem; kill -USR2 "$(cat /run/haproxy.pid)"'
ok "HAProxy serves the old one" wait_until 20 "HAProxy's reload" on_443 "$old"
ok "a mail says so" wait_until 60 "the mail" has_come "mail.domain.pl: mismatch"
text=$(mails | sed -n '/^Subject:.*mismatch/,$p' | tr A-F a-f)
ok "it names the address and port" grep -q "${TOPOLOGY_ADDRESS[haproxy]}:443" <<<"$text"
ok "both that are wrong" grep -q "${TOPOLOGY_ADDRESS[haproxy]}:993" <<<"$text"
ok "not the one that is right" test "$(grep -c "${TOPOLOGY_ADDRESS[haproxy]}:25" <<<"$text")" = 0
flat=$(tr -d '\n =' <<<"$text")
ok "the fingerprint that is served" grep -q "$(tr A-F a-f <<<"$old")" <<<"$flat"
ok "and the one that should be" grep -q "$(tr A-F a-f <<<"$new")" <<<"$flat"

# ---- put right ----

node_do haproxy certsync hold haproxy --end >/dev/null
node_do haproxy timeout 600 certsync push --force --agent haproxy mail.domain.pl >/dev/null
ok "the hold ended, HAProxy serves the new one" wait_until 60 "the repair" on_443 "$new"
ok "the checks see it" wait_until 60 "the checks" all_are ok
# The hub believes only after a minute and a half that a condition is over, counted from when it last read its
# configuration.
ok "a mail says that it is over" wait_until 150 "the second mail" has_come resolved
is "there was one mail of the mismatch, exactly" "$(count "mail.domain.pl: mismatch")" 1
is "and one of its end" "$(count resolved)" 1
note "$(mails | grep '^Subject:')"

done_testing
