#!/bin/bash
# HAProxy 3.0.11 (trixie): one PEM file holds two keys with their certificates, RSA and ECDSA, as Postfix's
# smtpd_tls_chain_files takes them. One would expect both to be served, or the file to be refused. `haproxy -c` finds
# the configuration valid, and the first pair alone is served: a client that wants ECDSA gets no handshake. The same two
# in files which end in .rsa and .ecdsa are both served under the name without these endings.
#
# Seen: haproxy -c 0; RSA is served; none to who wants ECDSA; as two files RSA and ECDSA, each to who wants it.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian trixie haproxy=3.0.11-1+deb13u5 openssl=3.5.9-1~deb13u1

pair www.example /t/rsa RSA -newkey rsa:2048
pair www.example /t/ec ECDSA
cat /t/rsa.pem /t/ec.pem >/t/one.pem
cp /t/rsa.pem /t/two.pem.rsa
cp /t/ec.pem /t/two.pem.ecdsa
cat >/t/conf <<'END'
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend one
  bind 127.0.0.1:8443 ssl crt /t/one.pem
  http-request return status 200
frontend two
  bind 127.0.0.1:8444 ssl crt /t/two.pem
  http-request return status 200
END
expect 'exit status of haproxy -c' 0 "$(status haproxy -c -f /t/conf)"
haproxy -D -f /t/conf -p /t/pid >/said 2>&1 || cannot "HAProxy did not start: $(cat /said)"
expect 'served from one file' RSA "$(served 8443 www.example)"
expect 'served from one file to who wants RSA' RSA "$(served 8443 www.example -sigalgs RSA+SHA256:RSA-PSS+SHA256)"
expect 'served from one file to who wants ECDSA' none "$(served 8443 www.example -sigalgs ECDSA+SHA256)"
expect 'served from two files to who wants RSA' RSA "$(served 8444 www.example -sigalgs RSA+SHA256:RSA-PSS+SHA256)"
expect 'served from two files to who wants ECDSA' ECDSA "$(served 8444 www.example -sigalgs ECDSA+SHA256)"
