#!/bin/bash
# Postfix 3.7.11 (bookworm) and 3.10.13 (trixie): `postmap -F` makes an indexed table of names and of the files with
# their keys and certificates (tls_server_sni_maps). One would expect that a file which is not there fails the command.
# It exits 0, warns, leaves that name out, and replaces the table by the one without it, so that a script which looks at
# the exit status has taken a name out of service.
#
# Seen: exit status 0; "warning: /t/names, line 2: open /t/second.pem: No such file or directory: skipping this entry";
# the table had second.example before, and has first.example and third.example alone after.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian bookworm postfix=3.7.11-0+deb12u1 openssl=3.0.22-1~deb12u2 \
	-- trixie postfix=3.10.13-0+deb13u1 openssl=3.5.9-1~deb13u1

names() {
	postmap -s hash:/t/names | awk '/\.example\t/ { print $1 }' | sort | paste -sd ' '
}

for name in first second third; do
	pair $name.example /t/$name $name
	echo "$name.example /t/$name.pem"
done >/t/names
expect 'with all files, the exit status of postmap -F' 0 "$(status postmap -F hash:/t/names)"
expect 'names in the table' 'first.example second.example third.example' "$(names)"
rm /t/second.pem
expect 'with one file gone, the exit status of postmap -F' 0 "$(status postmap -F hash:/t/names)"
expect 'it says' 'postmap: warning: /t/names, line 2: open /t/second.pem: No such file or directory: skipping this entry' "$(cat /said)"
expect 'names in the table' 'first.example third.example' "$(names)"
