#!/bin/bash
# Postfix 3.7.11 (bookworm) and 3.10.13 (trixie): the file of smtpd_tls_chain_files has a key that does not belong to
# its certificate. One would expect `postfix check` to find it, as nginx -t and haproxy -c do, or `postfix reload` to
# refuse and keep what was served. Both exit 0 and say nothing of it, STARTTLS is offered as before, and no handshake
# succeeds until the pair is right.
#
# Seen: check 0, reload 0; RIGHT was served before, and "none" after, beside "250-STARTTLS".
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian bookworm postfix=3.7.11-0+deb12u1 openssl=3.0.22-1~deb12u2 \
	-- trixie postfix=3.10.13-0+deb13u1 openssl=3.5.9-1~deb13u1

offers() { # whether STARTTLS is offered
	# shellcheck disable=SC2016 # Perl's variables
	timeout 10 perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new("127.0.0.1:25") or die "connect: $!\n";
		<$s>; print $s "EHLO client.example\r\n"; while (<$s>) { print if /STARTTLS/; last if /^250 / } print $s "QUIT\r\n"' | tr -d '\r'
}

pair mail.example /t/right RIGHT
pair mail.example /t/other OTHER
cp /t/right.pem /t/chain.pem
postconf -e smtpd_tls_chain_files=/t/chain.pem smtpd_tls_security_level=may inet_interfaces=loopback-only inet_protocols=ipv4 \
	myhostname=mail.example mydestination= alias_maps= notify_classes= maillog_file=/var/log/mail.log
grep -q '^postlog ' /etc/postfix/master.cf || echo 'postlog unix-dgram n - n - 1 postlogd' >>/etc/postfix/master.cf
[ "$(status postfix start)" = 0 ] || cannot "Postfix did not start: $(cat /said)"
expect 'served' RIGHT "$(served 25 mail.example -starttls smtp)"
cat /t/other.key /t/right.crt >/t/chain.pem
expect 'with the wrong key, the exit status of postfix check' 0 "$(status postfix check)"
expect 'lines about it' 0 "$(grep -cE 'warning|error|fatal' /said || :)"
expect 'exit status of postfix reload' 0 "$(status postfix reload)"
expect 'lines about it' 0 "$(grep -cE 'warning|error|fatal' /said || :)"
wait_for 30 serves none 25 mail.example -starttls smtp || changed 'handshakes succeed after the reload'
seen 'served: none'
expect 'offered' '250-STARTTLS' "$(offers)"
cp /t/right.pem /t/chain.pem
expect 'with the right key, the exit status of postfix reload' 0 "$(status postfix reload)"
wait_for 30 serves RIGHT 25 mail.example -starttls smtp || changed 'the right key does not bring the handshakes back'
seen 'served: RIGHT'
