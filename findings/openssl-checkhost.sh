#!/bin/bash
# OpenSSL 3.0.22 (bookworm) and 3.5.9 (trixie): `openssl x509 -checkhost NAME` says whether a certificate is for that
# name. One would expect its exit status to say so, too, as it does with -checkend. In 3.0 it is 0 either way (-checkip
# the same), and a script has to read the words; 3.5 exits 1 where the name is not in the certificate.
#
# Seen: "Hostname other.example does NOT match certificate" with exit status 0 (3.0.22) and 1 (3.5.9); -checkend of a
# day too far: 1.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian bookworm openssl=3.0.22-1~deb12u2 -- trixie openssl=3.5.9-1~deb13u1

case $SUITE in
bookworm) differs=0 ;;
*) differs=1 ;;
esac
pair mail.example /t/mail MAIL
check() {
	status openssl x509 -in /t/mail.crt -noout "$@"
}
expect 'exit status of -checkend, of a certificate that ends before that' 1 "$(check -checkend 864000)"
expect 'exit status of -checkhost, with its name' 0 "$(check -checkhost mail.example)"
expect 'it says' 'Hostname mail.example does match certificate' "$(cat /said)"
expect 'exit status of -checkhost, with another name' $differs "$(check -checkhost other.example)"
expect 'it says' 'Hostname other.example does NOT match certificate' "$(cat /said)"
expect 'exit status of -checkip, with an address that it has not' $differs "$(check -checkip 127.0.0.1)"
