#!/bin/bash
# Dovecot 2.3.19 (bookworm) and 2.4.1 (trixie): a name has a local_name block of its own beside one for the wildcard
# that matches it, too. One would expect the block with the exact name to win wherever it stands. The order in the file
# decides, and decides the other way round in the newer release: of two that match, 2.3 takes the first, 2.4 the last.
# So an upgrade can change the certificate that is served.
#
# Seen: a.example before *.example: EXACT is served by 2.3.19, WILDCARD by 2.4.1; after it: WILDCARD by 2.3.19, EXACT by
# 2.4.1.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian bookworm dovecot-core=1:2.3.19.1+dfsg1-2.1+deb12u7 dovecot-imapd=1:2.3.19.1+dfsg1-2.1+deb12u7 openssl=3.0.22-1~deb12u2 \
	-- trixie dovecot-core=1:2.4.1+dfsg1-6+deb13u7 dovecot-imapd=1:2.4.1+dfsg1-6+deb13u7 openssl=3.5.9-1~deb13u1

certificate() { # FILE, as the release wants it
	case $SUITE in
	bookworm) printf 'ssl_cert = <%s\nssl_key = <%s\n' "$1" "$1" ;;
	*) printf 'ssl_server_cert_file = %s\nssl_server_key_file = %s\n' "$1" "$1" ;;
	esac
}

configuration() { # NAME…: the order of their blocks; each has its certificate in /t/NAME.pem
	local name
	case $SUITE in
	bookworm) printf 'passdb {\n  driver = static\n  args = password=x\n}\n' ;;
	*) printf 'dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\npassdb static {\n  password = x\n}\n' ;;
	esac
	printf '%s\n' 'base_dir = /t/run' 'state_dir = /t/state' 'log_path = /t/log' 'protocols = imap' 'listen = 127.0.0.1' 'ssl = yes'
	certificate /t/default.pem
	for name; do
		printf 'local_name %s {\n%s\n}\n' "$name" "$(certificate "/t/$name.pem")"
	done
}

serve() { # NAME…: the certificate that a.example gets when the blocks stand so
	configuration "$@" >/t/conf
	dovecot -c /t/conf >&2 || cannot 'Dovecot did not start'
	expect "served for x.example, blocks $*" WILDCARD "$(served 993 x.example)" >&2
	served 993 a.example
	doveadm -c /t/conf stop
	wait_for 20 test ! -e /t/run/master.pid || cannot 'Dovecot did not stop'
}

pair default.example /t/default DEFAULT
pair a.example /t/a.example EXACT
pair '*.example' '/t/*.example' WILDCARD
case $SUITE in
bookworm) exact_first=EXACT exact_last=WILDCARD ;;
*) exact_first=WILDCARD exact_last=EXACT ;;
esac
expect 'served for a.example, its block before that of *.example' $exact_first "$(serve a.example '*.example')"
expect 'served for a.example, its block after that of *.example' $exact_last "$(serve '*.example' a.example)"
