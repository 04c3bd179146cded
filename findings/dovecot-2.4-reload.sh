#!/bin/bash
# Dovecot 2.4.1 (trixie): one certificate file of one local_name is not there, and another's has been renewed. One would
# expect that `doveadm reload` fails, or else that the other name is served from its new file. It exits 0, the log has
# the reason, and the server keeps all that it had: the renewed certificate is not served either until the missing file
# of the other name is back. `doveconf -n` exits 0, too; `doveconf -nx`, which reads the files, does not.
#
# Seen: reload 0; "Error: Failed to read configuration: … ssl_server_cert_file: open(/t/other.pem) failed"; OLD is
# served for the renewed name; doveconf -n 0, doveconf -nx 89; NEW is served after a reload with the file back in its
# place.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian trixie dovecot-core=1:2.4.1+dfsg1-6+deb13u7 dovecot-imapd=1:2.4.1+dfsg1-6+deb13u7 openssl=3.5.9-1~deb13u1

pair mail.example /t/default DEFAULT
pair renewed.example /t/renewed OLD
pair other.example /t/other OTHER
cat >/t/conf <<'END'
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
base_dir = /t/run
state_dir = /t/state
log_path = /t/log
protocols = imap
listen = 127.0.0.1
ssl_server_cert_file = /t/default.pem
ssl_server_key_file = /t/default.pem
passdb static {
  password = x
}
local_name renewed.example {
  ssl_server_cert_file = /t/renewed.pem
  ssl_server_key_file = /t/renewed.pem
}
local_name other.example {
  ssl_server_cert_file = /t/other.pem
  ssl_server_key_file = /t/other.pem
}
END
dovecot -c /t/conf || cannot 'Dovecot did not start'
expect 'served for the name before it is renewed' OLD "$(served 993 renewed.example)"
pair renewed.example /t/new NEW
mv /t/new.pem /t/renewed.pem
mv /t/other.pem /t/away.pem
expect 'with the file of the other name gone, the exit status of doveadm reload' 0 "$(status doveadm -c /t/conf reload)"
wait_for 20 grep -q 'Failed to read configuration.*/t/other.pem' /t/log ||
	changed 'the log does not say that the configuration was not read'
seen 'the log says that the configuration could not be read'
expect 'served for the renewed name' OLD "$(served 993 renewed.example)"
expect 'exit status of doveconf -n' 0 "$(status doveconf -c /t/conf -n)"
expect 'exit status of doveconf -nx' 89 "$(status doveconf -c /t/conf -nx)"
mv /t/away.pem /t/other.pem
expect 'with the file back, the exit status of doveadm reload' 0 "$(status doveadm -c /t/conf reload)"
wait_for 20 serves NEW 993 renewed.example || changed 'with all files there, a reload does not bring the renewed certificate'
seen 'served for the renewed name: NEW'
