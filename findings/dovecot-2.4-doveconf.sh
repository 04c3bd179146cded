#!/bin/bash
# Dovecot 2.4.1 (trixie): `doveconf -a` is said to print every setting with the value in force. One would look there, or
# ask doveconf for the setting by its name, to know the certificate file that the server uses. Both print
# `ssl_server_cert_file = ` with no value although the file has it in that very form, and the server serves it: the
# value stands in a block, ssl_server { cert_file = … }. The default ports of the login services are in `doveconf -a`
# nowhere; `doveconf service/imap-login/inet_listener` has them.
#
# Seen: "ssl_server_cert_file = " from doveconf -a and from doveconf ssl_server_cert_file; "  cert_file =
# /t/certificate.pem" in the block of doveconf -n; no line "port = 993" of doveconf -a, and one of doveconf
# service/imap-login/inet_listener.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian trixie dovecot-core=1:2.4.1+dfsg1-6+deb13u7 dovecot-imapd=1:2.4.1+dfsg1-6+deb13u7 openssl=3.5.9-1~deb13u1

pair mail.example /t/certificate CURRENT
cat >/t/conf <<'END'
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
base_dir = /t/run
state_dir = /t/state
log_path = /t/log
protocols = imap
listen = 127.0.0.1
ssl_server_cert_file = /t/certificate.pem
ssl_server_key_file = /t/certificate.pem
passdb static {
  password = x
}
END
dovecot -c /t/conf || cannot 'Dovecot did not start'
expect 'served at port 993' CURRENT "$(served 993 mail.example)"
expect 'doveconf -a' 'ssl_server_cert_file = ' "$(doveconf -c /t/conf -a | grep '^ssl_server_cert_file')"
expect 'doveconf ssl_server_cert_file' 'ssl_server_cert_file = ' "$(doveconf -c /t/conf ssl_server_cert_file)"
expect 'doveconf -n, in a block ssl_server' '  cert_file = /t/certificate.pem' \
	"$(doveconf -c /t/conf -n | sed -n '/^ssl_server {/,/^}/p' | grep cert_file)"
expect 'lines "port = 993" of doveconf -a' 0 "$(doveconf -c /t/conf -a | grep -c '^ *port = 993$' || :)"
expect 'and of doveconf service/imap-login/inet_listener' 1 \
	"$(doveconf -c /t/conf service/imap-login/inet_listener | grep -c '^ *port = 993$' || :)"
