#!/bin/bash
# stunnel 5.68 (bookworm), 5.74 (trixie): with `setuid` it opens port 443 as root and then becomes that user, as its
# manual says. SIGHUP is the way to have it read a new certificate, and one would think that the ports stay as they are,
# as with any server that keeps its listening sockets. It closes them and opens them again, as that user, who may not:
# the configuration has not changed in a byte, the process goes on, and port 443 is gone. A port above 1023 stays.
#
# Seen: CURRENT at 8443 and 443 before; after SIGHUP CURRENT at 8443 and "none" at 443, "Permission denied" in its log,
# and the process is still there.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian bookworm stunnel4=3:5.68-2+deb12u1 openssl=3.0.22-1~deb12u2 -- trixie stunnel4=3:5.74-2 openssl=3.5.9-1~deb13u1

pair mail.example /t/certificate CURRENT
chmod 755 /t
chmod 644 /t/certificate.pem

# conf PORT
conf() {
	printf '%s\n' 'foreground = no' "pid = /t/run/$1.pid" "output = /t/run/$1.log" 'setuid = stunnel4' 'setgid = stunnel4' \
		'[web]' "accept = 127.0.0.1:$1" 'connect = 127.0.0.1:80' 'cert = /t/certificate.pem' >"/t/$1.conf"
	chmod 644 "/t/$1.conf"
}

has_reloaded() { # PORT
	[ "$(grep -c 'Configuration successful' "/t/run/$1.log")" -ge 2 ] || grep -q 'Permission denied' "/t/run/$1.log"
}

mkdir /t/run
chown stunnel4: /t/run
for port in 8443 443; do
	conf "$port"
	stunnel4 "/t/$port.conf" || cannot "stunnel did not start: $(cat "/t/run/$port.log")"
	wait_for 20 serves CURRENT "$port" mail.example || cannot "stunnel does not serve at $port"
	seen "$port before SIGHUP: CURRENT"
done
for port in 8443 443; do
	kill -HUP "$(cat "/t/run/$port.pid")"
	wait_for 20 has_reloaded "$port" || changed "nothing was read again: $(cat "/t/run/$port.log")"
done
wait_for 20 serves CURRENT 8443 mail.example || changed 'port 8443 is gone, too'
seen '8443 after SIGHUP: CURRENT'
expect '443 after SIGHUP' none "$(served 443 mail.example)"
expect 'lines "Permission denied" in the log, at least one' yes "$(grep -q 'Permission denied' /t/run/443.log && echo yes || echo no)"
expect 'the process is there' 0 "$(status kill -0 "$(cat /t/run/443.pid)")"
