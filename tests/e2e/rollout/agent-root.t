#!/usr/bin/perl
# certsync-agent-root, driven by a double of its daemon (tests/root_tool.c): each step of an installation, what must
# come of failures, and kill -9 between and inside the steps. Run as root it gives the daemon to the user nobody;
# without root the same stories hold with the rights that there are.
# Not under valgrind: it copies the program beside a stand-in for the agent, which the original would not start.
use strict;
use warnings;
use Fcntl qw(:flock);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Needs;
use Test::More;
use Time::HiRes qw(time sleep);
require "$FindBin::Bin/../lib/agent_root.pm";
our ($bin, $tool, $top, $name, %op);

my ($a, $b, $c) = map { pair($_) } qw(a b c);

# ---- the stories ----

subtest 'a placeholder where there is nothing, so that a service can start' => sub {
	my $node = node();
	is(live($node), '0.0', 'live/ points at it');
	my $i = inventory($node);
	is($i->{served}, '0.0', 'the placeholder is served at first');
	is($i->{digest}, '0' x 64, 'its digest is not told');
	like(`openssl x509 -in $node->{dir}/etc/live/$name/combined.pem -noout -subject -ext subjectAltName`,
		qr/certsync placeholder.*DNS:\Q$name\E/s, 'the placeholder has its subject and name');
	is((stat "$node->{dir}/own/one.pem")[2] & 07777, 0640, 'own file with its mode');
	is((stat "$node->{dir}/etc/live/$name/privkey.pem")[2] & 07777, 0600, "the placeholder's key is its owner's alone");
	my $before = read_file("$node->{dir}/own/one.pem");
	restart($node, 'TERM');
	is(read_file("$node->{dir}/own/one.pem"), $before, 'the placeholder is made once');
	stop($node, 'TERM');
};

subtest 'stage, test, activate, reload, commit' => sub {
	my $node = node();
	my $reply = stage($node, '1.1', $a);
	ok($reply->{ok}, 'the first bundle is staged') or diag($reply->{text});
	is("$reply->{certificate} $reply->{revision}", "$name 1.1", 'and named');
	is(live($node), '0.0', 'live/ has not moved');
	my $i = inventory($node);
	is("$i->{staged} $i->{high_water} $i->{served}", '1.1 1.1 0.0', 'the inventory shows the staged revision');
	is($i->{staged_fingerprint}, fingerprint($a), 'the inventory has the staged leaf');
	ok(ask($node, 'test', '1.1')->{ok}, "the staged set passes the hooks' test");
	like(read_file("$node->{dir}/hooks.log"), qr{^one test 1\.1 \Q$node->{dir}\E/etc/archive/\Q$name\E/1\.1$}m, 'with the staged set');
	ok(!ask($node, 'reload', '1.1')->{ok}, 'no reload of what is not installed');
	hooks_run($node);
	$reply = ask($node, 'activate', '1.1');
	ok($reply->{ok}, 'the staged revision is activated') or diag($reply->{text});
	is(serves($node, $a), 'all', 'every file is the new one');
	$i = inventory($node);
	is("$i->{pending} $i->{served}", '1.1 0.0', 'the inventory shows the pending revision');
	cmp_ok($i->{seconds}, '>', 50, 'the inventory has the seconds until the undo');
	is($i->{fingerprint}, fingerprint($a), 'the inventory has the leaf of live/');
	ok(ask($node, 'activate', '1.1')->{ok}, 'activated again is no fault');
	ok(ask($node, 'reload', '1.1')->{ok}, 'the services are reloaded');
	is(hooks_run($node), 'one:running:1.1 one:reload:1.1 two:running:1.1 two:reload:1.1', 'the hooks run in the order of the configuration');
	ok(ask($node, 'commit', '1.1')->{ok}, 'the revision is committed');
	ok(ask($node, 'commit', '1.1')->{ok}, 'committed again is no fault');
	$i = inventory($node);
	is("$i->{served} $i->{pending} $i->{staged}", '1.1 0.0 0.0', 'the inventory shows the served revision alone');
	is(install($node, '1.2', $b), undef, 'the next revision is installed');
	is(serves($node, $b), 'all', 'the next revision is everywhere');
	stop($node, 'TERM');
};

subtest 'undo puts the old one back and reloads' => sub {
	my $node = node();
	install($node, '1.1', $a);
	ok($_->{ok}) for stage($node, '1.2', $b), ask($node, 'activate', '1.2');
	is(serves($node, $b), 'all', 'the activated files are everywhere before the undo');
	hooks_run($node);
	my $reply = ask($node, 'undo', '1.2');
	ok($reply->{ok} && $reply->{rolled_back}, 'an activation is undone') or diag($reply->{text});
	is(serves($node, $a), 'all', 'the undo puts the old files back everywhere');
	is(hooks_run($node), 'one:running:1.1 one:reload:1.1 two:running:1.1 two:reload:1.1', 'reloaded with the old');
	my $i = inventory($node);
	is("$i->{served} $i->{pending} $i->{staged}", '1.1 0.0 1.2', 'still staged, to be tried again');
	ok(ask($node, 'undo', '1.2')->{ok}, 'undone again is no fault');
	ok(!ask($node, 'commit', '1.2')->{ok}, 'too late to commit');
	ok(ask($node, 'activate', '1.2')->{ok} && ask($node, 'commit', '1.2')->{ok}, 'a second try is activated and committed');
	is(serves($node, $b), 'all', "the second try's files are everywhere");
	stop($node, 'TERM');
};

subtest 'no commit by the deadline' => sub {
	my $node = node();
	install($node, '1.1', $a);
	stage($node, '1.2', $b);
	ok(ask($node, 'activate', '1.2', 1)->{ok}, 'activated for one second');
	ok(wait_for(sub { serves($node, $a) eq 'all' && inventory($node)->{pending} eq '0.0' }), 'without a commit the activation is undone by itself');
	like(read_file("$node->{dir}/log"), qr/event=deadline .*revision=1\.2/, 'and logged');
	ok(ask($node, 'activate', '1.2', 1)->{ok}, 'it can be activated once more');
	stop($node, 'KILL');
	sleep 1.5; # the deadline is on the wall clock, and must pass while nobody watches it
	start($node);
	is(serves($node, $a), 'all', 'undone at the start');
	stop($node, 'TERM');
};

subtest 'a daemon that asks without end does not hold up the deadline' => sub {
	my $node = node();
	install($node, '1.1', $a);
	stage($node, '1.2', $b);
	control($node, 'one.running', 'sleep 0.3');
	ok(ask($node, 'activate', '1.2', 1)->{ok}, 'activated for one second');
	hooks_run($node);
	my $request = pack 'C N/a* N N N', $op{running}, $name, 1, 2, 0;
	$node->{socket}->syswrite(pack('N C a*', length($request) + 1, 4, $request) x 25);
	ok(wait_for(sub { serves($node, $a) eq 'all' }), 'the deadline undoes the activation all the same');
	my $asked = () = hooks_run($node) =~ /one:running:1\.2/g;
	cmp_ok($asked, '<', 20, "after $asked of 25 requests");
	control($node, 'one.running');
	ok(receive($node), 'the rest is answered too') for 1 .. 25;
	stop($node, 'TERM');
};

subtest 'a daemon that reloads in a loop is told to wait' => sub {
	my $node = node();
	install($node, '1.1', $a);
	hooks_run($node);
	my ($reply, $asked) = (undef, 0);
	do { $reply = ask($node, 'reload', '1.1'); $asked++ } while $reply->{ok} && $asked < 200;
	like($reply->{text}, qr/^too often: reload of \Q$name\E .*try again in \d+ s/, "after $asked reloads");
	ok(!$reply->{permanent}, 'and may come again');
	my $ran = () = hooks_run($node) =~ /one:reload/g;
	is($ran, $asked - 1, 'no hook has run for what was refused');
	stop($node, 'TERM');
};

subtest 'keys of the daemon that it has spoilt hold up nothing but itself' => sub {
	my $node = node();
	install($node, '1.1', $a);
	stage($node, '1.2', $b);
	ask($node, 'activate', '1.2', 1);
	stop($node, 'KILL');
	my $key = read_file("$node->{dir}/state/id_ed25519");
	write_file("$node->{dir}/state/id_ed25519", "garbage\n");
	sleep 1.5; # the deadline is on the wall clock, and must pass while nobody watches it
	launch($node);
	ok(wait_for(sub { serves($node, $a) eq 'all' }), 'what was pending is undone');
	ok(wait_for(sub { read_file("$node->{dir}/log") =~ /event=identity .*id_ed25519 is not/ }), 'the log says which key is spoilt');
	ok(!has_ended($node), 'and the root half goes on');
	stop($node, 'TERM');
	write_file("$node->{dir}/state/id_ed25519", $key);
	start($node);
	is(inventory($node)->{served}, '1.1', 'with the key restored the daemon comes too');
	stop($node, 'TERM');
};

subtest 'the first revision is never undone to the placeholder' => sub {
	my $node = node();
	stage($node, '1.1', $a);
	ask($node, 'activate', '1.1');
	my $reply = ask($node, 'undo', '1.1');
	ok(!$reply->{ok} && !$reply->{rolled_back}, 'an undo does not go back to the placeholder');
	like($reply->{text}, qr/placeholder.*new files stay/, 'the reply says that the new files stay');
	is(serves($node, $a), 'all', 'the new files stay');
	is(inventory($node)->{served}, '1.1', 'and are what is served');
	stop($node, 'TERM');
};

subtest 'a revoked predecessor is not put back, not even after a kill' => sub {
	my $node = node();
	install($node, '1.1', $a);
	ok(stage($node, '1.2', $b, flags => 4)->{ok}, 'the bundle says that the old one was revoked');
	restart($node);
	connect_tool($node) or die 'no socket';
	ok(ask($node, 'activate', '1.2')->{ok}, 'the revision is activated after the kill');
	my $reply = ask($node, 'undo', '1.2');
	ok(!$reply->{ok} && !$reply->{rolled_back}, 'an undo does not go back');
	like($reply->{text}, qr/revoked.*new files stay/, 'and says why');
	is(serves($node, $b), 'all', 'the new files stay');
	is(inventory($node)->{served}, '1.2', 'and are what is served');
	stop($node, 'TERM');
};

subtest 'a hook that fails, and one that is stopped' => sub {
	my $node = node();
	install($node, '1.1', $a);
	stage($node, '1.2', $b);
	control($node, 'two.test', 'echo syntax error in line 7 >&2; exit 5');
	my $reply = ask($node, 'test', '1.2');
	ok(!$reply->{ok} && $reply->{rolled_back}, 'test fails, nothing was changed');
	is("$reply->{step} $reply->{output}", "test syntax error in line 7\n", "a failed test has the hook's output");
	like($reply->{text}, qr/two.*exited 5/, 'and its name');
	control($node, 'two.test');
	control($node, 'one.running', 'exit 3');
	ask($node, 'activate', '1.2');
	$reply = ask($node, 'reload', '1.2');
	ok($reply->{ok}, 'a stopped service is no failure');
	is_deeply($reply->{stopped}, ['one'], 'and is listed');
	is_deeply(ask($node, 'running', '1.2')->{stopped}, ['one'], 'running says so too');
	control($node, 'two.reload', 'exit 1');
	$reply = ask($node, 'reload', '1.2');
	ok(!$reply->{ok} && !$reply->{rolled_back}, 'a failed reload waits for the undo');
	$reply = ask($node, 'undo', '1.2');
	ok(!$reply->{ok} && $reply->{rolled_back}, 'whose own reload fails too: the old files are back');
	is(serves($node, $a), 'all', 'the old files are back everywhere');
	control($node, 'two.reload', 'sleep 60');
	ask($node, 'activate', '1.2');
	my $start = time;
	$reply = ask($node, 'reload', '1.2');
	like($reply->{text}, qr/killed after 5 seconds/, 'a hook that hangs');
	cmp_ok(time - $start, '<', 10, 'a hook that hangs is ended in time');
	stop($node, 'TERM');
};

subtest 'a hook runs as the user that its service names' => sub {
	SKIP: {
		needs_root('a second user', 2);
		my $node = node(two => 'user = "nobody"');
		for my $service (qw(one two)) {
			write_file("$node->{dir}/$service.user", '', 0666);
			control($node, "$service.reload", "id -un >$node->{dir}/$service.user");
		}
		install($node, '1.1', $a);
		is(read_file("$node->{dir}/one.user"), "root\n", 'root where none is named');
		is(read_file("$node->{dir}/two.user"), "nobody\n", 'a hook can run as another user');
		stop($node, 'TERM');
	}
};

subtest 'started by a program that ignores SIGCHLD' => sub {
	my $node = node();
	stop($node, 'TERM');
	$node->{ignore_chld} = 1;
	start($node);
	stage($node, '1.1', $a);
	control($node, 'two.test', 'exit 5');
	like(ask($node, 'test', '1.1')->{text}, qr/two.*exited 5/, 'the exit codes of hooks are known all the same');
	stop($node, 'TERM');
};

subtest 'a certificate that cannot be started is refused for the time being' => sub {
	my $node = node();
	stop($node, 'TERM');
	my $journal = "$node->{dir}/root/$name.journal";
	rename $journal, "$journal.away" and mkdir $journal or die $!;
	start($node);
	for my $reply (stage($node, '1.1', $a), ask($node, 'test', '1.1')) {
		ok(!$reply->{ok} && !$reply->{permanent}, 'refused, not for ever');
		like($reply->{text}, qr/could not be started.*\Q$name\E\.journal/, 'the reply has the reason');
	}
	rmdir $journal or die $!;
	unlink "$node->{dir}/run/tool.sock";
	kill 'HUP', $node->{pid};
	ok(wait_for(sub { connect_tool($node) }), 'read again, and the daemon too');
	ok(stage($node, '1.1', $a)->{ok}, 'taken as soon as it can be');
	stop($node, 'TERM');
};

subtest 'bundles that must be refused' => sub {
	my $node = node();
	my $other = node();
	install($node, '1.2', $a);
	my %refused = (
		'signature' => [stage($node, '1.3', $b, sign => "$other->{dir}/sign.key"), 'of another hub'],
		'recipient' => [stage($node, '1.3', $b, recipient => $other->{seal}), 'sealed to another agent'],
		'revision' => [stage($node, '1.1', $b), 'older'],
		'digest' => [stage($node, '1.2', $b), 'the same revision with another content'],
		'allow' => [stage($node, '1.3', pair('evil', names => "DNS:$name,DNS:www.bank.example")), 'names that are not allowed'],
		'names' => [stage($node, '1.3', pair('part', names => 'DNS:www.domain.pl')), 'not for the name that is probed'],
		'sooner' => [stage($node, '1.3', pair('short', days => 3)), 'expires sooner'],
	);
	for my $rule (sort keys %refused) {
		my ($reply, $what) = @{$refused{$rule}};
		ok(!$reply->{ok} && $reply->{permanent}, $what);
		like($reply->{text}, qr/\b$rule:/, "rule $rule");
	}
	my $raw = bundle($node, '1.3', $b);
	substr($raw, 500, 1) ^= "\x01";
	ok(!stage($node, '1.3', $b, raw => $raw)->{ok}, 'a bundle with one bit changed is refused');
	ok(!stage($node, '1.3', $b, raw => substr($raw, 0, 200))->{ok}, 'a bundle that is cut short is refused');
	ok(!stage($node, '1.1', $b, certificate => 'other.domain.pl')->{ok}, 'a certificate that is not configured');
	my $i = inventory($node);
	is("$i->{served} $i->{high_water} $i->{staged}", '1.2 1.2 0.0', 'the refused bundles have changed nothing');
	is(serves($node, $a), 'all', 'the old one is served');
	ok(stage($node, '1.3', "$top/short.pem", flags => 1)->{ok}, 'sooner when the hub says so');
	ok(stage($node, '1.2', $a)->{ok} == 0, 'after which the older one is refused');
	ok(stage($node, '1.3', "$top/short.pem", flags => 1)->{ok}, 'and the same is a retry');
	stop($_, 'TERM') for $node, $other;
};

subtest 'two pairs' => sub {
	my $node = node();
	my $rsa = pair('rsa', rsa => 1);
	is(install($node, '1.1', "$a $rsa"), undef, 'a bundle with two pairs is installed');
	my $dir = "$node->{dir}/etc/live/$name";
	is(fingerprint("$dir/haproxy.pem.ecdsa"), fingerprint($a), 'haproxy.pem.ecdsa has the ECDSA pair');
	is(fingerprint("$dir/haproxy.pem.rsa"), fingerprint($rsa), 'haproxy.pem.rsa has the RSA pair');
	ok(!-e "$dir/haproxy.pem", 'with two pairs there is no haproxy.pem');
	is(() = read_file("$dir/combined-all.pem") =~ /BEGIN PRIVATE KEY/g, 2, 'both in combined-all.pem');
	restart($node);
	is(inventory($node)->{served}, '1.1', 'recognised after a restart');
	like(stage($node, '1.2', "$a $b")->{text}, qr/key-type/, 'two of one type are refused');
	stop($node, 'TERM');
};

subtest 'kill -9 after each step' => sub {
	my $node = node();
	install($node, '1.1', $a);
	restart($node);
	is(serves($node, $a), 'all', 'after commit: its files are everywhere');
	stage($node, '1.2', $b);
	restart($node);
	is(inventory($node)->{staged}, '1.2', 'after stage: still staged');
	ok(ask($node, 'test', '1.2')->{ok}, 'after stage: can be tested');
	restart($node);
	ask($node, 'activate', '1.2');
	restart($node);
	my $i = inventory($node);
	is("$i->{pending} $i->{served}", '1.2 1.1', 'after activate: still pending');
	cmp_ok($i->{seconds}, '>', 40, 'with its time left');
	is(serves($node, $b), 'all', 'after activate: the new files are everywhere');
	ask($node, 'reload', '1.2');
	restart($node);
	ok(ask($node, 'commit', '1.2')->{ok}, 'after reload: can be committed');
	restart($node);
	is(inventory($node)->{served}, '1.2', 'after commit: the new revision is served');
	stage($node, '1.3', $c);
	ask($node, 'activate', '1.3');
	ask($node, 'undo', '1.3');
	restart($node);
	is(serves($node, $b), 'all', 'after undo: the files of before are everywhere');
	stop($node, 'TERM');
};

# Sends a request, waits until the hook has begun, and returns without its reply.
sub hang_in {
	my ($node, $hook, $what, $revision) = @_;
	unlink "$node->{dir}/begun";
	control($node, $hook, ": >$node->{dir}/begun; sleep 30");
	my ($epoch, $number) = split /\./, $revision;
	send_frame($node, 4, pack 'C N/a* N N N', $op{$what}, $name, $epoch, $number, 60);
	ok(wait_for(sub { -e "$node->{dir}/begun" }), "$what is inside its hook");
}

subtest 'ended inside a hook' => sub {
	my $node = node(timeout => '20s');
	install($node, '1.1', $a);
	stage($node, '1.2', $b);
	ask($node, 'activate', '1.2');
	hang_in($node, 'one.reload', 'reload', '1.2');
	my $start = time;
	stop($node, 'TERM');
	cmp_ok(time - $start, '<', 5, 'SIGTERM ends the hook and the program');
	control($node, 'one.reload');
	start($node);
	is(inventory($node)->{pending}, '1.2', 'the revision is still pending');
	hang_in($node, 'one.reload', 'undo', '1.2');
	stop($node, 'KILL');
	control($node, 'one.reload');
	hooks_run($node);
	start($node);
	is(serves($node, $a), 'all', 'an undo that was killed is completed at the start');
	like(hooks_run($node), qr/one:reload:1\.1.*two:reload:1\.1/, 'the undo reloads the services');
	is(inventory($node)->{pending}, '0.0', 'nothing is pending');
	stop($node, 'TERM');
};

subtest 'a damaged journal is rebuilt' => sub {
	my $node = node();
	install($node, '1.1', $a);
	install($node, '1.2', $b);
	stage($node, '1.3', $c);
	my $journal = "$node->{dir}/root/$name.journal";
	my $whole = read_file($journal);
	my %damage = (
		'cut short' => substr($whole, 0, 300),
		'one bit flipped' => do { my $t = $whole; substr($t, 300, 1) ^= "\x04"; $t },
		'empty' => '',
	);
	for my $what (sort keys %damage) {
		stop($node, 'KILL');
		write_file($journal, $damage{$what});
		write_file("$node->{dir}/log", '');
		start($node);
		my $i = inventory($node);
		is("$i->{served} $i->{high_water}", '1.2 1.3', "$what: served and high-water mark are known again");
		like(read_file("$node->{dir}/log"), qr/event=rebuilt/, 'and it is said');
	}
	stop($node, 'KILL');
	unlink $journal;
	start($node);
	is(inventory($node)->{served}, '1.2', 'without its journal the same revision is served');
	is(serves($node, $b), 'all', 'the service has not noticed');
	stop($node, 'TERM');
};

subtest 'installed files that somebody changes' => sub {
	my $node = node();
	install($node, '1.1', $a);
	my $own = "$node->{dir}/own/one.pem";
	write_file($own, "something else\n");
	ok(wait_for(sub { serves($node, $a) eq 'all' }), 'an own file is written anew');
	unlink $own;
	my $decoy = "$node->{dir}/decoy";
	write_file($decoy, "not theirs to write\n");
	symlink $decoy, $own;
	ok(wait_for(sub { !-l $own && serves($node, $a) eq 'all' }), 'a symlink in its place is replaced');
	is(read_file($decoy), "not theirs to write\n", 'and not followed');
	unlink "$node->{dir}/etc/live/$name";
	ok(wait_for(sub { (live($node) // '') eq '1.1' }), 'the live link too');
	stop($node, 'TERM');
	rename "$node->{dir}/own", "$node->{dir}/real" and symlink 'real', "$node->{dir}/own" or die $!;
	write_file("$node->{dir}/real/one.pem", "theirs\n");
	start($node);
	is(read_file("$node->{dir}/real/one.pem"), "theirs\n", 'a directory that became a symlink is not entered');
	like(read_file("$node->{dir}/log"), qr/own on the way is a symbolic link/, 'and this is said');
	stop($node, 'TERM');
};

subtest 'a person at work is let alone' => sub {
	my $node = node();
	install($node, '1.1', $a);
	my $own = "$node->{dir}/own/one.pem";
	ok(!ask($node, 'hold', '1.1', 7 * 86400 + 1)->{ok}, 'a hold of over a week is refused');
	ok(ask($node, 'hold', '1.1', 3600)->{ok}, 'a hold is taken');
	is(inventory($node)->{held}, 3600, 'the inventory shows the hold');
	write_file($own, "mine for now\n");
	unlink "$node->{dir}/run/tool.sock";
	kill 'HUP', $node->{pid};
	ok(wait_for(sub { connect_tool($node) }), 'the configuration is read again');
	is(inventory($node)->{held} > 3590, 1, 'and it is still known');
	ask($node, 'running', '1.1') for 1 .. 3;
	is(read_file($own), "mine for now\n", 'nothing is put right meanwhile');
	ok(ask($node, 'hold', '1.1', 0)->{ok}, 'the hold is ended');
	ok(wait_for(sub { serves($node, $a) eq 'all' }), 'what was changed is put right at once');
	ok(ask($node, 'running', '1.1')->{repaired} > 0, 'and this is told');
	ok(ask($node, 'hold', '1.1', 1)->{ok}, 'a short hold is taken');
	write_file($own, "mine again\n");
	ok(wait_for(sub { serves($node, $a) eq 'all' }), 'when the short hold is over, the file is put right');
	stop($node, 'TERM');
};

subtest 'a file that agent.conf names newly was not changed by anybody' => sub {
	my $node = node();
	install($node, '1.1', $a);
	my ($conf, $new) = map { "$node->{dir}/$_" } 'agent.conf', 'own/new.pem';
	write_file($new, "what was there before certsync came\n");
	my $text = read_file($conf);
	$text =~ s/^(\s*)(service "two")/$1service "new" { hook = "$node->{dir}\/hooks\/one"  probe = none  file "$new" { content = "combined" } }\n$1$2/m or die $text;
	write_file($conf, $text);
	unlink "$node->{dir}/run/tool.sock";
	kill 'HUP', $node->{pid};
	ok(wait_for(sub { connect_tool($node) }), 'the configuration is read again');
	like(read_file($new), qr/BEGIN CERTIFICATE/, 'the file is written');
	like(read_file("$node->{dir}/log"), qr/event=place .*files=1$/m, 'which is logged');
	is(ask($node, 'running', '1.1')->{repaired}, 0, 'and is not called a repair');
	write_file($new, "mine\n");
	ok(wait_for(sub { ask($node, 'running', '1.1')->{repaired} > 0 }), 'as the next change of it is');
	stop($node, 'TERM');
};

subtest 'an adopt that is at work is waited for' => sub {
	my $node = node();
	install($node, '1.1', $a);
	my $own = "$node->{dir}/own/one.pem";
	open my $lock, '>', "$node->{dir}/root/adopt.lock" or die $!;
	flock $lock, LOCK_EX or die $!;
	write_file($own, "half written\n");
	ok(stage($node, '1.2', $b)->{ok}, 'a revision is staged');
	my $reply = ask($node, 'test', '1.2');
	ok(!$reply->{ok} && !$reply->{permanent}, 'and not tested for the time being');
	like($reply->{text}, qr/adopt is changing services/, 'with the reason');
	my $until = time + 1;
	ask($node, 'running', '1.1') while time < $until;
	is(read_file($own), "half written\n", 'nothing is put right meanwhile');
	close $lock;
	ok(ask($node, 'test', '1.2')->{ok}, 'as soon as it has ended the test passes');
	ok(wait_for(sub { serves($node, $a) eq 'all' }), 'and what differs is put right') or diag(read_file($own));
	open $lock, '>', "$node->{dir}/root/adopt.lock" or die $!;
	flock $lock, LOCK_EX or die $!;
	for my $step (qw(activate reload)) {
		my $reply = ask($node, $step, $step eq 'reload' ? '1.1' : '1.2');
		is("$reply->{ok} $reply->{step} $reply->{rolled_back}", '0 adopt 1', "$step is refused, too, and nothing was changed");
	}
	flock $lock, LOCK_UN or die $!;
	ok(ask($node, 'activate', '1.2')->{ok}, 'then it is activated');
	ok(!flock($lock, LOCK_EX | LOCK_NB), 'which an adopt waits for');
	stop($node, 'KILL');
	start($node);
	ok(!flock($lock, LOCK_EX | LOCK_NB), 'after a restart of the root half, too');
	ok(ask($node, 'commit', '1.2')->{ok}, 'until it is committed');
	ok(flock($lock, LOCK_EX | LOCK_NB), 'and no longer');
	stop($node, 'TERM');
};

subtest 'a file that is changed without end' => sub {
	my $node = node();
	install($node, '1.1', $a);
	my $own = "$node->{dir}/own/one.pem";
	my $until = time + 4;
	while (time < $until) {
		write_file($own, "mine\n");
		sleep 0.01;
	}
	my $repairs = () = read_file("$node->{dir}/log") =~ /event=repair /g;
	cmp_ok($repairs, '>=', 2, 'what somebody changes again and again is put right');
	cmp_ok($repairs, '<=', 4, 'ever more rarely: a few times in four seconds') or diag($repairs);
	my $reloads = () = read_file("$node->{dir}/hooks.log") =~ / reload /g;
	is($reloads, 2, 'and no service is reloaded for it');
	stop($node, 'TERM');
};

subtest 'a set in the archive that somebody changes' => sub {
	my $node = node();
	install($node, '1.1', $a);
	install($node, '1.2', $b);
	my $set = "$node->{dir}/etc/archive/$name/1.2";
	write_file("$set/$_.pem", "x\n"), ok(wait_for(sub { serves($node, $b) eq 'all' }), "$_.pem is written anew")
		for qw(combined cert);
	stop($node, 'TERM');
	write_file("$set/combined.pem", read_file("$set/combined.pem") =~ s/A/B/r);
	start($node);
	is(inventory($node)->{served}, '1.2', 'one letter is no reason to go back to an older one');
	is(serves($node, $b), 'all', 'and is put right at the start');
	stop($node, 'TERM');
};

subtest 'a set of which nothing is left is sent again' => sub {
	my $node = node();
	install($node, '1.1', $a);
	write_file("$node->{dir}/etc/archive/$name/1.1/$_.pem", "x\n") for qw(privkey cert fullchain haproxy combined);
	ok(wait_for(sub { read_file("$node->{dir}/log") =~ /event=drift/ }), 'that nothing is left is noticed');
	ok(stage($node, '1.1', $a)->{ok}, 'the same revision is taken as a retry');
	is(serves($node, $a), 'all', 'and whole again');
	stop($node, 'TERM');
};

subtest 'pins and restarts of the daemon' => sub {
	my $node = node();
	is(pin($node, 'again'), 0, 'the same line again is no fault');
	chomp(my $foreign = `$tool hub $node->{dir}/other.key`);
	my $mine = $node->{signer};
	$node->{signer} = $foreign;
	is(pin($node, 'other'), 2, 'another key is refused');
	like(read_file("$node->{dir}/pin.log"), qr/--replace/, 'and says how');
	like(read_file("$node->{dir}/etc/pins/hub_keys"), qr/^\Q$mine\E$/m, 'the pin has not changed');
	is(pin($node, 'other', '--replace'), 0, 'replaced when told to');
	ok(stage($node, '1.1', $a, sign => "$node->{dir}/other.key")->{ok}, 'another pinned key is believed without a restart');
	is((stat "$node->{dir}/etc/pins/hub_keys")[2] & 07777, 0644, 'readable to the daemon');
	my $instance = ask($node, 'inventory')->{instance};
	restart($node);
	is(ask($node, 'inventory')->{instance}, $instance, 'the instance survives a restart of the root half');
	send_frame($node, 4, 'nonsense');
	$node->{socket}->close;
	ok(wait_for(sub { connect_tool($node) && eval { inventory($node) } }), 'a daemon that talks nonsense is started again');
	my $second = system("$node->{dir}/bin/certsync-agent-root -c $node->{dir}/agent.conf 2>$node->{dir}/second.log");
	isnt($second, 0, 'a second root half on the same state');
	like(read_file("$node->{dir}/second.log"), qr/another certsync-agent-root/, 'a second root half is refused');
	unlike(read_file("$node->{dir}/second.log"), qr/Sanitizer/, 'and lets go of what it had');
	stop($node, 'TERM');
};

done_testing;
