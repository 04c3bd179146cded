#!/bin/bash
# MariaDB 10.11.19 (bookworm): of two lines of an option file about one setting the last one holds, and `skip-ssl` is
# how TLS is turned off. One would think that it stays off wherever `ssl-cert` and `ssl-key` stand, since nothing says
# `ssl`. Each option that begins with ssl- turns TLS on again: with `skip-ssl` before them clients are served TLS, with
# `skip-ssl` behind them they are not.
#
# Seen: CURRENT at port 3306 with skip-ssl first, "none" with skip-ssl last.
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian bookworm mariadb-server-core=1:10.11.19-0+deb12u1 mariadb-client-core=1:10.11.19-0+deb12u1 openssl=3.0.22-1~deb12u2

pair db.example /t/certificate CURRENT
useradd --system --user-group mysql
chmod 755 /t
chown mysql: /t/certificate.*
install -d -o mysql /t/data /t/run
mariadb-install-db --no-defaults --user=mysql --datadir=/t/data --skip-test-db >/said 2>&1 || cannot "no database: $(tail -n 3 /said)"

answers() {
	timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/3306 && head -c 1 <&3' >/dev/null 2>&1
}

is_gone() {
	! kill -0 "$1" 2>/dev/null
}

# with LINE…: what is served by a server with these lines in its option file
with() {
	local pid
	printf '%s\n' '[mariadbd]' 'user = mysql' 'datadir = /t/data' 'bind-address = 127.0.0.1' 'socket = /t/run/sock' \
		'pid-file = /t/run/pid' 'log-error = /t/run/log' "$@" >/t/my.cnf
	mariadbd --defaults-file=/t/my.cnf >/said 2>&1 &
	pid=$!
	wait_for 60 answers || cannot "MariaDB does not come up: $(tail -n 5 /t/run/log)"
	served 3306 db.example -starttls mysql
	kill "$pid"
	wait_for 60 is_gone "$pid" || cannot 'MariaDB does not end'
}

files=('ssl-cert = /t/certificate.crt' 'ssl-key = /t/certificate.key')
expect 'skip-ssl before ssl-cert and ssl-key' CURRENT "$(with skip-ssl "${files[@]}")"
expect 'skip-ssl behind them' none "$(with "${files[@]}" skip-ssl)"
