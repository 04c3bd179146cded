#!/bin/bash
# Dovecot 2.3.19 (bookworm) and 2.4.1 (trixie): a login service with several listeners, by default one connection for
# each login process (service_count = 1; restart_request_count = 1 in 2.4). One would expect that under load all its
# ports become slow alike. But while connections come faster than processes start, new processes are given the
# connections of the listener that stands first in the configuration, and those that wait on the others are accepted by
# the kernel and get no greeting at all, for as long as it lasts. With processes that serve many connections
# (service_count = 0; restart_request_count = unlimited) the ports are alike.
#
# Seen, with four clients on each of three ports which come back at once, for ten seconds on two processors: greetings
# on the first, second and third port 182, 0 and 0 (2.3.19), 109, 0 and 0 (2.4.1); with many connections for each
# process 9102, 9297 and 8924 (2.3.19), 7540, 7819 and 7701 (2.4.1).
# shellcheck source=findings/root.sh
. "$(dirname "$0")/root.sh"
on_debian bookworm dovecot-core=1:2.3.19.1+dfsg1-2.1+deb12u7 dovecot-imapd=1:2.3.19.1+dfsg1-2.1+deb12u7 \
	-- trixie dovecot-core=1:2.4.1+dfsg1-6+deb13u7 dovecot-imapd=1:2.4.1+dfsg1-6+deb13u7

case $SUITE in
bookworm)
	head=
	passdb='passdb {
  driver = static
  args = password=x
}'
	many='service_count = 0'
	;;
*)
	head='dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0'
	passdb='passdb static {
  password = x
}'
	many='restart_request_count = unlimited'
	;;
esac

configuration() { # SETTING of the login service, or nothing
	cat <<-END
		$head
		base_dir = /t/run
		state_dir = /t/state
		log_path = /t/log
		protocols = imap
		listen = 127.0.0.1
		ssl = no
		$passdb
		service imap-login {
		  $1
		  inet_listener imap {
		    port = 1143
		  }
		  inet_listener second {
		    port = 1144
		  }
		  inet_listener third {
		    port = 1145
		  }
		}
	END
}

# clients EACH SECONDS: on each of the ports so many, which connect, wait for the greeting, log out and come back.
# Prints the greetings of the first, the second and the third port.
clients() {
	# shellcheck disable=SC2016 # Perl's variables
	perl -MIO::Socket::INET -e '
		my ($each, $seconds) = @ARGV;
		my (@clients, @greetings);
		for my $port (0 .. 2) {
			for (1 .. $each) {
				pipe(my $from, my $to) or die "pipe: $!\n";
				push @clients, [$port, $from];
				next if fork;
				my $greetings = 0;
				local $SIG{ALRM} = sub { syswrite $to, "$greetings\n"; exit };
				alarm $seconds;
				while (1) {
					my $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => 1143 + $port) or next;
					$greetings++ if (<$server> // "") =~ /^\* OK/;
					print $server "a logout\r\n";
					1 while <$server>;
				}
			}
		}
		$greetings[$_->[0]] += readline $_->[1] for @clients;
		print "@greetings\n"' "$@"
}

greetings() { # SETTING
	configuration "$1" >/t/conf
	dovecot -c /t/conf >&2 || cannot 'Dovecot did not start'
	clients 4 10
	doveadm -c /t/conf stop
	wait_for 20 test ! -e /t/run/master.pid || cannot 'Dovecot did not stop'
}

counts=$(greetings '')
read -r first second third <<<"$counts"
seen "greetings of the three ports, with the default: $first $second $third"
[ "$first" -ge 20 ] || cannot "only $first greetings on the first port: this machine is too busy to tell"
if [ $((second * 5)) -ge "$first" ] || [ $((third * 10)) -ge "$first" ]; then
	changed 'the second or third port is served beside the first'
fi
counts=$(greetings "$many")
read -r first second third <<<"$counts"
seen "greetings of the three ports, with $many: $first $second $third"
if [ $((second * 4)) -le "$first" ] || [ $((third * 4)) -le "$first" ]; then
	changed "with $many the ports are not alike"
fi
