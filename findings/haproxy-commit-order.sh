#!/bin/bash
# HAProxy 3.0.11 (trixie): two certificate files for the same name on one bind line; the first is served. It is renewed
# over the runtime API (set ssl cert, commit ssl cert). One would expect that it keeps its place, as it does in the
# configuration. But the commit puts it behind the other: the second certificate is served from then on, while `show ssl
# cert` tells of the new one that it is in use. A reload, which reads the same files in the same order, sets it right.
#
# Seen: FIRST before; RENEWED has "Status: Used" after the commit, and SECOND is served; RENEWED is served after a
# reload.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian trixie haproxy=3.0.11-1+deb13u5 openssl=3.5.9-1~deb13u1

pair www.example /t/first FIRST
pair www.example /t/second SECOND
pair www.example /t/new RENEWED
cat >/t/conf <<'END'
global
  stats socket /t/socket level admin
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend web
  bind 127.0.0.1:8443 ssl crt /t/first.pem crt /t/second.pem
  http-request return status 200
END
haproxy -W -D -f /t/conf -p /t/pid >/said 2>&1 || cannot "HAProxy did not start: $(cat /said)"
expect 'served' FIRST "$(served 8443 www.example)"
ask /t/socket "set ssl cert /t/first.pem <<
$(cat /t/new.pem)
" >/said
ask /t/socket 'commit ssl cert /t/first.pem' | grep -q Success || cannot 'the certificate was not committed'
expect 'after the commit, show ssl cert /t/first.pem' 'Status: Used Subject: /CN=RENEWED' \
	"$(ask /t/socket 'show ssl cert /t/first.pem' | grep -E '^(Status|Subject):' | paste -sd ' ')"
expect 'served' SECOND "$(served 8443 www.example)"
mv /t/new.pem /t/first.pem
kill -USR2 "$(cat /t/pid)"
wait_for 30 serves RENEWED 8443 www.example || changed 'after a reload the first file is not served'
seen 'served after a reload: RENEWED'
