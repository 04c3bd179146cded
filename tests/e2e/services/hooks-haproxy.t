#!/usr/bin/perl
# HAProxy's hook where something is amiss: variables are missing, HAProxy does not accept the files, a lock is held or
# not to be trusted, or a stats socket says no or nonsense. HAProxy is a real one; only what it would never say at its
# socket is said by a double in its place. Whatever fails there ends in a reload, or in an error that says why.
# Not under valgrind: it copies the hooks, and the one that is a program is not wrapped.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use Fcntl qw(LOCK_EX);
use File::Copy qw(copy);
use IO::Socket::UNIX;
use Needs;
use Separate;
use Test::More;

needs('/usr/sbin/haproxy');
Separate->enter;
my $story = Separate->new;
my $top = $story->top;
my ($cfg, $socket) = ("$top/conf/haproxy.cfg", '/run/haproxy.sock');
my $live = "$top/live/mail";
system("mkdir -p $top/conf $live /etc/haproxy && rm -rf /etc/haproxy/*") == 0 or die;

# ---- HAProxy, the files of its certificate, the hook ----

sub configure {
	my ($path, $port, $crt, $stats) = @_;
	Story::write_file($path, join "\n", 'global', map({"\tstats socket $_"} @{$stats // ["$socket mode 600 level admin"]}), 'defaults', "\tmode http",
		"\ttimeout client 5s", "\ttimeout server 5s", "\ttimeout connect 5s", "frontend at$port", "\tbind 127.0.0.1:$port ssl crt $crt", '');
}

sub pem { return join '', map { Story::read_file("$top/$_") } @_ }

# Writes what an agent would install; the hook is told of it by its variables.
sub install {
	my ($file) = @_;
	my $fingerprint = $story->pair($file);
	Story::write_file("$live/fullchain.pem", pem("$file.crt"));
	Story::write_file("$live/privkey.pem", pem("$file.key"), 0600);
	Story::write_file("$live/haproxy.pem", pem("$file.crt", "$file.key"), 0600);
	return $fingerprint;
}

sub is_served {
	my ($fingerprint, $what) = @_;
	ok($story->until('served', sub { $story->served(8443) eq $fingerprint }, 5), $what) or diag($story->log('haproxy'));
}

sub haproxy {
	my @words = @_;
	unlink "$top/haproxy.log";
	my $pid = $story->start('haproxy', '/usr/sbin/haproxy', @words);
	$story->until('haproxy', sub { $story->served(8443) ne '' }) or do { diag($story->log('haproxy')); BAIL_OUT('HAProxy does not start') };
	return $pid;
}

my %told = (CERTSYNC_DIR => $live, CERTSYNC_FULLCHAIN => "$live/fullchain.pem", CERTSYNC_PRIVKEY => "$live/privkey.pem");

# Runs the hook with these variables changed (undef: unset). Returns its exit code and what it says.
sub hook_starts {
	my ($verb, %changed) = @_;
	my $pid = open(my $output, '-|') // die;
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		my %all = (PATH => '/usr/sbin:/usr/bin', %told, %changed, map { ($_ => $ENV{$_}) } grep { /^(CERTSYNC_COUNTERS|LLVM_PROFILE_FILE|ASAN_OPTIONS)$/ } keys %ENV);
		%ENV = map { ($_ => $all{$_}) } grep { defined $all{$_} } keys %all;
		chdir '/';
		exec "$Story::bin/hooks/haproxy", $verb or POSIX::_exit(127);
	}
	return ($output, $pid);
}

sub hook {
	my ($output) = hook_starts(@_);
	my $text = do { local $/; <$output> } // '';
	close $output;
	return ($? >> 8, $text);
}

sub says {
	my ($what, $exit, $like, $verb, %changed) = @_;
	my ($got, $text) = hook($verb, %changed);
	is($got, $exit, $what) or diag($text);
	like($text, $like, "$what: it says so");
	return $text;
}

# From 3.0 on it says nothing of a good configuration.
my $valid = qr/\A(?:Configuration file is valid\n)?\z/;
my $first = install('first');

subtest 'what stands in HAProxy\'s own place' => sub {
	Story::write_file('/etc/haproxy/haproxy.cfg', "nonsense\n");
	says('stopped, with a configuration that it does not take', 1, qr/unknown keyword 'nonsense'.*haproxy: haproxy -c exited 1$/s, 'test');
	configure('/etc/haproxy/haproxy.cfg', 8443, "$live/haproxy.pem");
	says('stopped, with a good one', 0, $valid, 'test');
	unlink '/etc/haproxy/haproxy.cfg';
	says('stopped, with none', 0, qr/^$/, 'test');
	says('nothing to reload', 1, qr/^haproxy: no HAProxy runs here that could be reloaded$/, 'reload');
	is(system("$Story::bin/hooks/haproxy stop 2>$top/usage"), 2 << 8, 'a verb that it does not know');
	is(Story::read_file("$top/usage"), "usage: haproxy test|reload|running\n", 'it says which there are');
	system('mount -t proc -o hidepid=2 none /proc') == 0 or die;
	my ($code, $text) = @{$story->as('nobody', sub { [hook('running')] })};
	is($code, 1, 'where /proc shows a user its own processes only, stopped is not said');
	like($text, qr/does not show all processes to user \d+: run this hook as root/, 'and why');
	system('umount /proc') == 0 or die;
};

configure($cfg, 8443, "$live/haproxy.pem");
my $master = haproxy('-W', '-f', $cfg);

subtest 'what it is to be told' => sub {
	for my $name (sort keys %told) {
		says("without $name", 1, qr/^haproxy: $name is not set: this hook is run by certsync-agent-root$/m, 'reload', $name => undef);
		says("with an empty $name", 1, qr/^haproxy: $name is not set/m, 'reload', $name => '');
	}
	says('a chain that is not there', 1, qr/^haproxy: .*none.pem/, 'reload', CERTSYNC_FULLCHAIN => "$live/none.pem");
	says('a chain that is none', 1, qr/^haproxy: /, 'reload', CERTSYNC_FULLCHAIN => '/etc/passwd');
	is_served($first, 'nothing has changed');
};

subtest 'files that it does not take' => sub {
	my $good = Story::read_file($cfg);
	Story::write_file($cfg, "$good\n\tnonsense\n");
	says('a configuration with a fault', 1, qr/unknown keyword 'nonsense'.*haproxy: haproxy -c exited 1$/s, 'test');
	Story::write_file($cfg, $good);
	says('mended', 0, $valid, 'test');
	Story::write_file('/mnt/none', '', 0644);
	system('mount --bind /mnt/none /usr/sbin/haproxy') == 0 or die;
	says('its program is gone', 1, qr{^haproxy: cannot start /usr/sbin/haproxy: Permission denied$}, 'test');
	system('umount /usr/sbin/haproxy') == 0 or die;
	# A key of another certificate must not be sent.
	$story->pair('other');
	Story::write_file("$live/haproxy.pem", pem('first.crt', 'other.key'), 0600);
	like((hook('reload'))[1], qr{^haproxy: \Q$live\E/haproxy.pem: .*: reloading instead$}m, 'a key of another certificate: no part of it is replaced');
	is_served($first, 'and HAProxy, which does not take it either, serves on what it has');
	unlink "$live/haproxy.pem";
	says('a file that is loaded and gone', 0, qr{haproxy.pem: .*No such file or directory.*: reloading instead$}m, 'reload');
	is_served($first, 'it serves on');
	my $second = install('second');
	ok($story->until('replaced', sub { (hook('reload'))[1] =~ m{haproxy.pem replaced in process $master over \Q$socket\E$}m }), 'with good files again all is well');
	is_served($second, 'and the new one is served');
};

subtest 'the lock' => sub {
	my $directory = "$top/live";
	chmod 0777, $directory;
	says('others can write beside it', 0, qr/^haproxy: others can write to \Q$directory\E: reloading instead$/m, 'reload');
	chmod 0755, $directory;
	# The hook reads its files after each reload, and every hook waits for that, so what it says next is about its
	# own certificate.
	my $lock = "$directory/.haproxy.lock";
	unlink $lock;
	symlink '/etc/planted', $lock or die;
	says('a link in its place', 0, qr{^haproxy: cannot open \Q$lock\E: .*: reloading instead$}m, 'reload');
	ok(!-e '/etc/planted', 'is not followed');
	unlink $lock;
	says('no directory for it', 0, qr{^haproxy: cannot open \Q$top\E/none: No such}m, 'reload', CERTSYNC_DIR => "$top/none/mail");
	my $third = install('third');
	ok($story->until('it reads', sub { (hook('reload'))[1] =~ /replaced/ }), 'and all is well') or diag($story->log('haproxy'));
	open my $held, '>', $lock or die;
	flock $held, LOCK_EX or die;
	my $fourth = install('fourth');
	my ($output, $pid) = hook_starts('reload');
	ok($story->until('it waits', sub { Story::read_file('/proc/locks') =~ /-> FLOCK .* $pid / }), 'a second writer waits for the first');
	is($story->served(8443), $third, 'and has changed nothing');
	close $held;
	my $text = do { local $/; <$output> };
	ok(close($output), 'then it has its turn');
	like($text, qr/haproxy.pem replaced/, 'and replaces') or diag($text);
	is_served($fourth, 'what is served');
};

subtest 'what HAProxy refuses' => sub {
	copy("$live/haproxy.pem", "$live/a name.pem") or die;
	configure($cfg, 8443, "'$live/a name.pem'");
	says('its configuration has changed', 0, qr/^haproxy: its configuration has changed: reloading instead$/m, 'reload', CERTSYNC_RECONFIGURED => 1);
	ok($story->until('read', sub { (hook('reload'))[1] =~ m{the runtime API has no way to write the name "\Q$live\E/a name.pem": reloading instead$}m }),
		'a name that cannot be written at its socket');
	unlink "$live/a name.pem";
	configure($cfg, 8443, "$live/haproxy.pem", ["ipv4\@127.0.0.1:8404 level admin", "$socket level operator", "$socket.other"]);
	$story->stop('haproxy');
	$master = haproxy('-f', "$top/conf", '-db');
	says('a socket that is not at level admin, and no master', 1, qr/show ssl crt-list: HAProxy answered "Permission denied *": reloading instead
haproxy: process $master has no master to reload it: start HAProxy as root with -W \(or -Ws\), or give its stats socket `level admin`$/m, 'reload');
	unlink "$live/fullchain.pem.key";
	Story::write_file("$live/fullchain.pem.key", Story::read_file("$live/privkey.pem"), 0600);
	configure($cfg, 8443, "$live/fullchain.pem");
	$story->stop('haproxy');
	$master = haproxy('-C', "$top/conf", '-W', '--', 'haproxy.cfg');
	my $fifth = install('fifth');
	Story::write_file("$live/fullchain.pem.key", Story::read_file("$live/privkey.pem"), 0600);
	says('the arguments of its start are those of its check', 0, $valid, 'test');
	says('a key of its own that is not there', 0, qr{^haproxy: .*none.key.*: reloading instead$}m, 'reload', CERTSYNC_PRIVKEY => "$live/none.key");
	is_served($fifth, 'HAProxy has read its own');
	my $sixth = install('sixth');
	Story::write_file("$live/fullchain.pem.key", Story::read_file("$live/privkey.pem"), 0600);
	ok($story->until('a key of its own', sub { (hook('reload'))[1] =~ m{fullchain.pem replaced in process $master} }), 'a key of its own');
	is_served($sixth, 'is taken with the chain');
	$story->pair('big', names => join ',', map { "DNS:name$_.domain.pl" } 1 .. 800);
	Story::write_file("$live/fullchain.pem", pem('big.crt'));
	Story::write_file("$live/privkey.pem", pem('big.key'), 0600);
	my ($code, $text) = hook('reload');
	like($text, qr{fullchain.pem: \d+ bytes are more than HAProxy's runtime API takes at once: reloading instead$}m, 'a chain that is too long for its socket');
};

# Checks what HAProxy serves for a name at 8443 after the hook has run, and again after a reload: the same, whatever else it
# has for that name.
sub is_served_for_good {
	my ($fingerprint, $what) = @_;
	my $text = says($what, 0, qr/is loaded for (?:x|\Q$Story::name\E), too, and only a reload keeps their order: reloading instead$/m, 'reload');
	is_served($fingerprint, "$what: it is served");
	kill 'USR2', $master;
	$story->until('read', sub { (hook('running'))[0] == 0 && $story->log('haproxy') =~ /Loading success.*Loading success.*Loading success/s }, 5);
	is_served($fingerprint, "$what: and after another reload");
}

subtest 'more than one certificate for a name' => sub {
	$story->stop('haproxy');
	unlink "$live/fullchain.pem.key";
	install('beside');
	copy("$live/haproxy.pem", "$top/beside.pem") or die;
	install('before');
	configure($cfg, 8443, "$live/haproxy.pem crt $top/beside.pem");
	$master = haproxy('-W', '-f', $cfg);
	is_served_for_good(install('after'), 'the first of two');
	$story->stop('haproxy');
	Story::write_file("$top/list", "$live/haproxy.pem $Story::name\n$top/other.pem [ssl-min-ver TLSv1.2] other.domain.pl $Story::name\n");
	$story->pair('other', names => 'DNS:other.domain.pl');
	Story::write_file("$top/other.pem", pem('other.crt', 'other.key'), 0600);
	configure($cfg, 8443, '-');
	Story::write_file($cfg, Story::read_file($cfg) =~ s/crt -/crt-list $top\/list/r);
	$master = haproxy('-W', '-f', $cfg);
	is_served_for_good(install('listed'), 'the first of two by the words of a crt-list');
	# At addresses of their own the order does not matter, and nobody is there who could reload.
	$story->stop('haproxy');
	configure($cfg, 8443, "$live/haproxy.pem");
	Story::write_file($cfg, Story::read_file($cfg) =~ s{\z}{\tbind 127.0.0.1:8444 ssl crt $top/beside.pem\n}r);
	$master = haproxy('-f', $cfg);
	my ($beside, $alone) = ($story->served(8444), install('alone'));
	says('two at addresses of their own, without a master', 0,
		qr/beside\.pem is loaded for \Q$Story::name\E, too, .* for which there is no master: it is replaced all the same\n.* replaced in process $master/, 'reload');
	is_served($alone, '  what is new is served');
	is($story->served(8444), $beside, '  and the other as before');
};

subtest 'a file that is loaded by an alias, too' => sub {
	my ($version) = `/usr/sbin/haproxy -v` =~ /version (\d+\.\d+)/;
	plan skip_all => "HAProxy $version has no crt-store" if $version < 3.0;
	$story->stop('haproxy');
	install('unaliased');
	configure($cfg, 8443, "$live/haproxy.pem");
	Story::write_file($cfg, Story::read_file($cfg) =~ s{^defaults}{crt-store files\n\tcrt-base $live\n\tload crt haproxy.pem alias it\ndefaults}mr
		=~ s{\z}{\tbind 127.0.0.1:8444 ssl crt \@files/it\n}r);
	$master = haproxy('-W', '-f', $cfg);
	my $fingerprint = install('aliased');
	is_served_for_good($fingerprint, 'by its path and by an alias');
	is($story->served(8444), $fingerprint, 'so it is by the alias');
};

subtest 'a buffer of another size' => sub {
	for my $case ([65536, 0, qr/haproxy.pem replaced in process/], [8192, 1, qr/\d+ bytes are more than HAProxy's runtime API takes at once: reloading instead$/m]) {
		my ($size, $few, $like) = @$case;
		$story->stop('haproxy');
		install('small');
		configure($cfg, 8443, "$live/haproxy.pem");
		Story::write_file($cfg, Story::read_file($cfg) =~ s/^global$/global\n\ttune.bufsize $size/mr);
		$master = haproxy('-W', '-f', $cfg);
		# What no buffer of the usual size takes, and so shows whether HAProxy was asked for its own.
		my $fingerprint = $story->pair('big', names => join ',', "DNS:$Story::name", map { "DNS:name$_.domain.pl" } 1 .. ($few ? 300 : 800));
		Story::write_file("$live/fullchain.pem", pem('big.crt'));
		Story::write_file("$live/privkey.pem", pem('big.key'), 0600);
		Story::write_file("$live/haproxy.pem", pem('big.crt', 'big.key'), 0600);
		cmp_ok(length pem('big.crt', 'big.key'), '>', $few ? 8192 : 16384, 'a file that is larger than the buffers ' . ($few ? 'here' : 'usually are'));
		says("a chain of " . length(pem('big.crt')) . " bytes at tune.bufsize $size", 0, $like, 'reload');
		is_served($fingerprint, 'and it is served');
	}
};

subtest 'two of them' => sub {
	$story->stop('haproxy');
	unlink "$top/conf/haproxy.cfg", "$live/fullchain.pem.key";
	mkdir "$top/conf/sub";
	my $seventh = install('seventh');
	configure("$top/conf/sub/one.cfg", 8443, "$live/haproxy.pem");
	configure("$top/conf/sub/two.cfg", 9443, "$live/haproxy.pem", ["$socket.two mode 600 level admin"]);
	$story->start('second', '/bin/sh', '-c', "cd $top/conf && exec /usr/sbin/haproxy -C sub -db -f two.cfg");
	$master = haproxy('-f', "$top/conf/sub/one.cfg", '-db');
	ok($story->until('both', sub { $story->served(9443) ne '' }), 'each with its own configuration') or diag($story->log('second'));
	my $eighth = install('eighth');
	my $text = says('are told each', 0, qr/replaced in process $master over \Q$socket\E$/m, 'reload');
	like($text, qr/replaced in process \d+ over \Q$socket\E.two$/m, 'over its own socket') or diag($text);
	is($story->served($_), $eighth, "$_ serves what is new") for 8443, 9443;
	Story::write_file("$top/conf/sub/two.cfg", "nonsense\n");
	says('one of them would not start again', 1, qr/unknown keyword.*haproxy -c exited 1$/sm, 'test');
	$story->stop('second');
};

# ---- what HAProxy would never say ----

my %answer;

# Starts a double of the socket: to each command it says what %answer has for the first word that fits it, or nothing.
sub double {
	%answer = @_;
	$story->stop('double');
	unlink $socket;
	my $listener = IO::Socket::UNIX->new(Local => $socket, Listen => 5) or die;
	my $pid = fork // die $!;
	if ($pid == 0) {
		my $shown = 0;
		$SIG{PIPE} = 'IGNORE';
		while (my $client = $listener->accept) {
			if (exists $answer{unread}) {
				close $client;
				next;
			}
			$client->sysread(my $command, 65536);
			open my $log, '>>', "$top/double.log";
			print $log $command =~ /^(.*)/, "\n";
			close $log;
			my $what = $command =~ /^show ssl cert$/m ? 'list' : $command =~ /^show (?:ssl crt-list|pools)/ ? 'aside' : $command =~ /^show ssl cert \*/ ? 'pending' : $command =~ /^show/ ? 'shown' : $command =~ /^(\w+)/ ? $1 : '';
			$client->syswrite($answer{$what} // '');
			close $client;
		}
		POSIX::_exit(0);
	}
	close $listener;
	$story->{started}{double} = $pid;
	unlink "$top/double.log";
}

subtest 'nonsense' => sub {
	my $ninth = install('ninth');
	my $sha1 = uc sha1_hex(scalar `openssl x509 -in $live/fullchain.pem -outform der`);
	my %good = (list => "# filename\n$live/haproxy.pem\n", set => "Transaction created for certificate $live/haproxy.pem!\n", pending => "SHA1 FingerPrint: $sha1\n",
		commit => "Committing $live/haproxy.pem.\nSuccess!\n", shown => "SHA1 FingerPrint: $sha1\n", abort => "Transaction aborted\n");
	my $reload = qr/: reloading instead\nhaproxy: process $master has no master/;
	my @cases = (
		['nothing', [list => ''], qr/the list of certificates .*: HAProxy answered "nothing"/, ''],
		['a closed connection', [unread => 1], qr/HAProxy's stats socket/, ''],
		['no list', [list => "\n\nPermission denied\n"], qr/HAProxy answered "Permission denied/, ''],
		['an endless list', [list => '# filename' . ("\n" . 'x' x 1000) x 17000], qr/HAProxy's reply is longer than \d+ bytes/, ''],
		['a list cut short', [list => "# filename\n" . substr "$live/haproxy.pem", 0, -8], qr/cannot open \Q$live\E\/hap: No such file/, ''],
		['names that are none of ours', [list => "# filename\nrelative\n//x\n/..\n/etc/passwd\n$top/conf/../live/mail/haproxy.pem\n\n"], qr/has loaded no file/, ''],
		['a refusal', [set => "Can't allocate memory\n"], qr/haproxy.pem: set ssl cert: HAProxy answered "Can't allocate memory/, 'abort'],
		['a transaction of another certificate', [pending => "SHA1 FingerPrint: 00\n"], qr/haproxy.pem: what HAProxy holds is not the new certificate/, 'abort'],
		['a chain that it has not taken', [pending => "$good{pending}\nChain Subject: /CN=x\n"], qr/HAProxy holds 1 of the chain's 0 certificates behind the leaf/, 'abort'],
		['a commit that fails', [commit => "Committing $live/haproxy.pem\nCan't commit!\n"], qr/commit ssl cert: HAProxy answered "Committing/, 'abort'],
		['a commit without effect', [shown => "SHA1 FingerPrint: 00\n"], qr/haproxy.pem after its commit: what HAProxy holds/, ''],
		['endless answers', [set => 'x' x 100_000], qr/haproxy.pem: HAProxy's reply is longer than/, 'abort'],
		['an endless look', [pending => 'x' x 100_000], qr/haproxy.pem: HAProxy's reply is longer than/, 'abort'],
		['an endless commit', [commit => 'x' x 100_000], qr/haproxy.pem: HAProxy's reply is longer than/, 'abort'],
	);
	for (@cases) {
		my ($what, $other, $like, $end) = @$_;
		double(%good, @$other);
		my $text = says($what, 1, $like, 'reload');
		like($text, $reload, "$what: a reload is tried");
		unlike($text, qr/PRIVATE|replaced/, "$what: nothing is said to be replaced, and no key is told");
		is((split / /, (Story::read_file("$top/double.log") =~ /(.*)\n\z/)[0] // '')[0] // '', 'abort', "$what: its transaction is ended") if $end;
	}
	double(%good, list => "# filename\n*$live/" . 'x' x 17000 . "\n*$live/stale.pem\n$live/haproxy.pem\n");
	says('transactions that somebody has left there', 0, qr/haproxy.pem replaced/, 'reload');
	like(Story::read_file("$top/double.log"), qr{^abort ssl cert \Q$live\E/stale.pem$}m, 'are ended first');
	$story->stop('double');
	says('nobody listens', 1, qr/cannot connect to HAProxy's stats socket \Q$socket\E: Connection refused$reload/, 'reload');
};

$story->ends_clean;
done_testing();
