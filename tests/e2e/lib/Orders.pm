# ACME orders for stories: order_tool, which is the daemon's part alone, runs `certsync-worker acme` against Pebble or a
# double.
#
#   pebble(reject => 30, reuse => 100, …); my ($text, $status) = order(fresh(), settings => ['next_key=1']); pebble_end();
package Orders;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Keys;
use Port qw(free_port);
use Time::HiRes qw(time sleep);

our @EXPORT = qw(write_file read_file openssl free_port start stop wait_for listens pebble pebble_end double orders finalized
	double_saw fresh command order issued failure account_key stored_key published_key stored_order published pebble_saw pebble_get
	$top $api $http $directory $new %started);
our ($api, $http, $directory, $management, %started);
# these names are ordered: localise Orders::names for others
our @names = qw(mail.domain.pl smtp.domain.pl imap.domain.pl);
our $bin = abs_path($ENV{CERTSYNC_BIN} // 'build/bin');
our $tool = abs_path($ENV{CERTSYNC_ORDER_TOOL} // "$bin/../tests/order_tool");
our $top = tempdir('certsync-acme.XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $double = abs_path(dirname(__FILE__) . '/ca_double.py');
my $runs = 0;
END { local $?; kill 'KILL', $_ for values %started }

# ---- files ----

sub write_file {
	my ($path, $text) = @_;
	open my $file, '>', $path or die "$path: $!";
	print $file $text;
	close $file or die "$path: $!";
}

sub read_file {
	my ($path) = @_;
	open my $file, '<:raw', $path or return '';
	local $/;
	return <$file> // '';
}

sub openssl {
	my @words = @_;
	system("openssl @words >>$top/openssl.log 2>&1") == 0 or die "openssl @words: " . read_file("$top/openssl.log");
}

# The tool looks for the worker in its own directory.
mkdir "$top/bin";
for ("$bin/certsync-worker", $tool) {
	copy($_, "$top/bin/") or die "$_: $!";
}
chmod 0755, "$top/bin/certsync-worker", "$top/bin/order_tool";

# This authority is the one of the servers' own TLS.
our $new = 'req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
openssl("$new -x509 -days 30 -subj '/CN=test CA' -keyout $top/ca.key -out $top/ca.pem");
openssl("$new -subj /CN=acme -keyout $top/api.key -out $top/api.csr");
write_file("$top/api.ext", "subjectAltName=IP:127.0.0.1\n");
openssl("x509 -req -in $top/api.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial -days 30",
	"-extfile $top/api.ext -out $top/api.pem");

# ---- processes ----

sub start {
	my ($what, @command) = @_;
	unlink "$top/$what.log";
	my $pid = fork // die $!;
	if ($pid == 0) {
		open STDIN, '<', '/dev/null' or die $!;
		open STDOUT, '>', "$top/$what.log" or die $!;
		open STDERR, '>&', \*STDOUT or die $!;
		exec @command or die "$command[0]: $!";
	}
	return $started{$what} = $pid;
}

sub stop {
	my ($what) = @_;
	my $pid = delete $started{$what} or return;
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

# Asks again and again, until a server is up.
sub wait_for {
	my ($what, $seconds, $condition) = @_;
	my $deadline = time + $seconds * ($ENV{CERTSYNC_PATIENCE} // 1);
	until ($condition->()) {
		die "waited $seconds s for $what\n" . read_file("$top/pebble.log") . read_file("$top/double.log")
			if time > $deadline;
		sleep 0.02;
	}
}

sub listens {
	my ($port) = @_;
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) ? 1 : 0;
}

# ---- the authorities ----

# Starts Pebble. reject and reuse are percentages; sleep is the most seconds that a validation takes; alternates are
# roots beside the first; chain is its length; eab is {KID => KEY}.
sub pebble {
	my (%settings) = @_;
	my $eab = $settings{eab} // {};
	my $keys = join ', ', map { qq("$_": "$eab->{$_}") } sort keys %$eab;
	my $required = %$eab ? 'true' : 'false';
	my $dns;
	($api, $http, $dns, $management, my ($tls, $dns_management)) = map { free_port } 1 .. 6;
	$directory = "https://127.0.0.1:$api/dir";
	write_file("$top/pebble.json", qq({"pebble": {"listenAddress": "127.0.0.1:$api",
		"managementListenAddress": "127.0.0.1:$management", "certificate": "$top/api.pem",
		"privateKey": "$top/api.key", "httpPort": $http, "tlsPort": $tls, "ocspResponderURL": "",
		"externalAccountBindingRequired": $required, "externalAccountMACKeys": {$keys}}}));
	start('dns', abs_path(dirname(__FILE__)) . '/../../../examples/demo/node/challtestsrv', "127.0.0.1:$dns", '-management', "127.0.0.1:$dns_management",
		'-defaultIPv6', '');
	local @ENV{qw(PEBBLE_VA_NOSLEEP PEBBLE_VA_SLEEPTIME PEBBLE_WFE_NONCEREJECT PEBBLE_AUTHZREUSE PEBBLE_ALTERNATE_ROOTS
		PEBBLE_CHAIN_LENGTH)} = ($settings{sleep} ? 0 : 1, $settings{sleep} // 0, $settings{reject} // 0, $settings{reuse} // 0,
		$settings{alternates} // 0, $settings{chain} // 1);
	start('pebble', 'pebble', '-strict', '-config', "$top/pebble.json", '-dnsserver', "127.0.0.1:$dns");
	wait_for('Pebble', 20, sub { listens($api) && listens($dns_management) });
}

sub pebble_end {
	stop($_) for qw(pebble dns);
}

sub double {
	my ($lie) = @_;
	stop('double');
	mkdir "$top/scratch";
	start('double', '/usr/bin/python3', $double, $lie, map { "$top/$_" } qw(api.pem api.key ca.pem ca.key scratch));
	wait_for("the double ($lie)", 20, sub { read_file("$top/double.log") =~ /^ready (\d+)$/m && ($api = $1) });
	$directory = "https://127.0.0.1:$api/directory";
	$http = free_port;
}

# The first returns how many orders Pebble has made, the second how often it was asked to end one.
sub orders { return scalar(() = read_file("$top/pebble.log") =~ /orders in the db/g) }
sub finalized { return scalar(() = read_file("$top/pebble.log") =~ /POST \/finalize-order/g) }

sub double_saw {
	my ($request) = @_;
	return scalar(() = read_file("$top/double.log") =~ /^\Q$request\E$/mg);
}

# ---- the tool ----

sub pebble_saw {
	my ($request) = @_;
	return scalar(() = read_file("$top/pebble.log") =~ /\Q$request\E/g);
}

# Asks Pebble's management interface.
sub pebble_get {
	my ($path) = @_;
	return scalar `curl -s --cacert $top/ca.pem https://127.0.0.1:$management/$path`;
}

sub fresh {
	my $state = "$top/state-" . ++$runs;
	mkdir $state;
	return $state;
}

sub command {
	my ($state, $kill_at, @settings) = @_;
	return ("$top/bin/order_tool", $state, "127.0.0.1:$http", $directory, "$top/ca.pem", $kill_at, @settings, @names);
}

# Runs the tool to its end; settings are "SETTING=VALUE"… Returns what it printed, and its wait status.
sub order {
	my ($state, %wish) = @_;
	open my $out, '-|', command($state, $wish{kill_at} // '-', @{$wish{settings} // []}) or die $!;
	my $text = join '', <$out>;
	close $out;
	return ($text, $?);
}

sub issued {
	my ($text) = @_;
	return $text =~ /^issued (.*)$/m && join(' ', sort split ' ', $1) eq join(' ', sort @names);
}

# Takes the line "failed KIND RETRY-AFTER TEXT" apart.
sub failure {
	my ($text) = @_;
	return $text =~ /^failed (\d) (\d+) (.*)$/m ? ($1, $2, $3) : (-1, -1, "no failure: $text");
}

sub account_key { return key_of_record($_[0], 'acme/test/account.pub') }
sub stored_key { return key_of_record($_[0], 'orders/mail.domain.pl/key.pub') }
# Returns the published key of the first pair, or with "-2" of the second.
sub published_key { return key_of_chain($_[0], "$_[0]/certificates/mail.domain.pl/current/fullchain" . ($_[1] // '') . '.pem') }
sub stored_order { return read_file("$_[0]/records/orders/mail.domain.pl/order.json") }
sub published { return read_file("$_[0]/certificates/mail.domain.pl/current/fullchain.pem") }

1;
