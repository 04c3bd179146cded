#!/bin/bash
# Exim 4.96 (bookworm): the daemon keeps the certificate that tls_certificate names in memory. One would expect what was
# true for many years, that each connection reads the file, and no reload is needed. It is read again, within seconds,
# when the file is replaced in its directory. But where that directory is a symbolic link, and renewal replaces the link
# by one to a new directory (which is how key and certificate are changed in one step), nothing is noticed, and the old
# certificate is served until SIGHUP.
#
# Seen: SECOND is served after the file is replaced (5 s); FIRST for 15 s after the link is replaced; SECOND after
# SIGHUP.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian bookworm exim4-daemon-light=4.96-15+deb12u11 openssl=3.0.22-1~deb12u2

start() { # HOW
	exim4 -bd -oP /t/pid
	wait_for 20 test -s /t/pid || cannot 'Exim did not start'
	expect "served at first, $1" FIRST "$(served 2525 mail.example -starttls smtp)"
}

stop() {
	local pid
	pid=$(cat /t/pid)
	kill "$pid"
	wait_for 20 test ! -e "/proc/$pid" || cannot 'Exim did not stop'
	rm -f /t/pid
}

serves_second() {
	serves SECOND 2525 mail.example -starttls smtp
}

mkdir /t/one /t/two /t/live
pair mail.example /t/one/mail FIRST
pair mail.example /t/two/mail SECOND
chown -R Debian-exim /t
cat >/etc/exim4/exim4.conf <<'END'
primary_hostname = mail.example
daemon_smtp_ports = 2525
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = /t/live/mail.pem
tls_privatekey = /t/live/mail.pem
END

cp -p /t/one/mail.pem /t/live/
start 'from a file'
cp -p /t/two/mail.pem /t/live/new
mv /t/live/new /t/live/mail.pem
wait_for 30 serves_second || changed 'a file that is replaced is not read again'
seen 'served after the file is replaced: SECOND'
stop
rm -r /t/live
ln -s one /t/live
start 'through a symbolic link'
ln -s two /t/next
mv -T /t/next /t/live
! wait_for 15 serves_second || changed 'the link that was replaced has been followed'
seen 'served for 15 s after the link is replaced: FIRST'
kill -HUP "$(cat /t/pid)"
wait_for 30 serves_second || changed 'SIGHUP does not bring the new certificate'
seen 'served after SIGHUP: SECOND'
