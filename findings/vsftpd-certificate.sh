#!/bin/bash
# vsftpd 3.0.3 (bookworm), 3.0.5 (trixie): each client has a process of its own, so one would think that it reads the
# certificate for each; and the unit's reload sends SIGHUP, at which it reads its configuration again. Neither brings a
# renewed certificate: the process that listens has read it when it started, and every client gets that one until the
# daemon is started again.
#
# Seen: OLD before and after the files were replaced, OLD after SIGHUP, the process still there, NEW after a restart.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian bookworm vsftpd=3.0.3-13+b2 openssl=3.0.22-1~deb12u2 -- trixie vsftpd=3.0.5-0.2 openssl=3.5.9-1~deb13u1

pair ftp.example /t/old OLD
pair ftp.example /t/new NEW
mkdir /t/empty
printf '%s\n' listen=YES listen_address=127.0.0.1 listen_port=990 background=NO ssl_enable=YES implicit_ssl=YES ftp_username=nobody \
	nopriv_user=nobody secure_chroot_dir=/t/empty rsa_cert_file=/t/served.pem rsa_private_key_file=/t/served.pem >/t/vsftpd.conf

start() {
	vsftpd /t/vsftpd.conf >/t/log 2>&1 &
	daemon=$!
}

cp /t/old.pem /t/served.pem
start
wait_for 20 serves OLD 990 ftp.example || cannot "vsftpd does not serve: $(cat /t/log)"
seen 'before: OLD'
cp /t/new.pem /t/served.pem.new
mv /t/served.pem.new /t/served.pem
expect 'a new client after the files were replaced' OLD "$(served 990 ftp.example)"
kill -HUP $daemon
# A client whose turn comes after the signal: the process that listens takes one after the other.
for _ in 1 2 3 4 5; do
	expect 'a new client after SIGHUP' OLD "$(served 990 ftp.example)"
done
expect 'the process is there' 0 "$(status kill -0 $daemon)"
kill $daemon
wait $daemon || :
start
wait_for 20 serves NEW 990 ftp.example || changed "after a restart: $(served 990 ftp.example)"
seen 'after a restart: NEW'
