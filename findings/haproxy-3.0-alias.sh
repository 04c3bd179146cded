#!/bin/bash
# HAProxy 3.0.11 (trixie): one file is named by its path on one bind line, and by its alias in a crt-store on another.
# One would expect one certificate in memory, as with a path that stands twice. They are two: what the runtime API sets
# under the path leaves what is served under the alias as it was, and the commit says Success.
#
# Seen: "/t/www.pem @store/www" in show ssl cert; after set and commit of /t/www.pem NEW is served by the path, OLD by
# the alias.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian trixie haproxy=3.0.11-1+deb13u5 openssl=3.5.9-1~deb13u1

pair www.example /t/www OLD
pair www.example /t/new NEW
cat >/t/conf <<'END'
global
  stats socket /t/socket level admin
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
crt-store store
  crt-base /t
  load crt www.pem alias www
frontend path
  bind 127.0.0.1:8443 ssl crt /t/www.pem
  bind 127.0.0.1:8444 ssl crt /t/www.pem
  http-request return status 200
frontend alias
  bind 127.0.0.1:8445 ssl crt @store/www
  http-request return status 200
END
haproxy -D -f /t/conf -p /t/pid >/said 2>&1 || cannot "HAProxy did not start: $(cat /said)"
expect 'show ssl cert' '/t/www.pem @store/www' "$(ask /t/socket 'show ssl cert' | grep www | sort | paste -sd ' ')"
ask /t/socket "set ssl cert /t/www.pem <<
$(cat /t/new.pem)
" >/said
ask /t/socket 'commit ssl cert /t/www.pem' | grep -q Success || cannot 'the certificate was not committed'
expect 'served by the path' NEW "$(served 8443 www.example)"
expect 'served by the same path on another line' NEW "$(served 8444 www.example)"
expect 'served by the alias' OLD "$(served 8445 www.example)"
