#!/usr/bin/perl
# The hub's root half beside a daemon that lies or breaks. A double stands where certsync does and says, on descriptor
# 3, what the story wrote for it: none of it makes the root half read, write or end, and after each a daemon is started
# again.
# Not under valgrind: it copies the program beside a stand-in for the daemon, which the original would not start.
use strict;
use warnings;
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
make_path("$top/bin", "$top/pair");
system('cp', (map { "$Story::bin/certsync-$_" } qw(hub-root keys worker)), "$top/bin/") == 0 or die;

# The double says what stands in `say`, and what it hears goes to `heard`. It lives until the root half hangs up or ends
# it. With `slow` it says the same again and again, and reads far less than it is told.
Story::write_file("$top/bin/certsync", <<"PERL", 0755);
#!/usr/bin/perl
open my \$root, '+<&=', 3 or die;
open my \$say, '<', "$top/say" or exit 7;
my \$words = do { local \$/; <\$say> };
open my \$heard, '>>', "$top/heard" or die;
if (-e "$top/slow") {
	if (fork) { 1 while syswrite \$root, \$words; exit }
	select undef, undef, undef, 0.01 while sysread \$root, my \$answers, 32768;
	exit;
}
syswrite \$root, \$words;
shutdown \$root, 1 if -e "$top/shut";
syswrite \$heard, \$_ while sysread \$root, \$_, 65536;
sleep 600 if -e "$top/stay";
PERL

$story->pair('pair/a');
$story->hub_conf(agents => ['here'], certificates => "certificate \"$Story::name\" { watch = {\"$top/pair\"} }\n");

sub frame { my ($type, $data) = @_; return pack('NC', length($data) + 1, $type) . $data }
sub text { return pack 'N/a*', $_[0] }
sub scan { return frame(4, pack('C', 1) . text($_[0])) }
my $ed25519 = 'ssh-ed25519 ' . do { my $k = `cat $top/host.pub`; (split ' ', $k)[1] };
sub keys_of { my ($agent, $key, $use) = @_; return frame(4, pack('CCn', 2, 0, 1) . text($agent) . text($key) . pack('CQ>', $use // 0, 0)) }

my $conf = "$top/hub.conf";
# Starts the root half with a daemon that says this. Returns true once its log shows `pattern`.
sub with {
	my ($words, $pattern, @ways) = @_;
	$story->stop('hub');
	unlink "$top/heard", "$top/hub.log", map { "$top/$_" } qw(slow shut stay);
	Story::write_file("$top/say", $words);
	Story::write_file("$top/$_", '') for @ways;
	$story->start('hub', "$top/bin/certsync-hub-root", '-c', $conf);
	return $story->until($pattern, sub { $story->log('hub') =~ $pattern }) || diag($story->log('hub')) && 0;
}
sub heard { my ($pattern) = @_; return $story->until($pattern, sub { Story::read_file("$top/heard") =~ $pattern }) || diag(Story::read_file("$top/heard")) && 0 }
sub started { my $n = () = $story->log('hub') =~ /name=daemon pid=\d+ result=started/g; return $n }

for my $case (
	['a frame of 4 GiB', pack('NC', 0xffffffff, 4), qr/error="[^"]*frame-length[^"]*" result=killed/],
	['a message, which is not for it', frame(1, '{}'), qr/error="[^"]*frame-type[^"]*" result=killed/],
	['a request that there is not', frame(4, pack 'C', 9), qr/error="[^"]*" result=killed/],
	['a certificate that is a path', scan('../../etc/shadow'), qr/error="[^"]*" result=killed/],
	['a key for an agent that is a path', keys_of('../here', $ed25519), qr/error="keys: '[^"]*' is not an agent's name" result=killed/],
	['two lines for a key', keys_of('here', "$ed25519\nssh-ed25519 AAAA"), qr/error="keys: what is given for here is not one SSH public key" result=killed/],
	['a use that a key cannot have', keys_of('here', $ed25519, 9), qr/error="keys: [^"]*makes no sense" result=killed/],
	['a frame cut short', pack('NC', 100, 4) . 'x', qr/error="[^"]*ended inside a frame[^"]*" result=killed/, 'shut'],
) {
	my ($what, $words, $reason, @ways) = @$case;
	ok(with($words, $reason, @ways), "$what: the daemon is killed with the reason");
	ok($story->until('another', sub { started() > 1 }), 'and started again');
	ok(!-e "$top/gate/authorized_keys", 'nobody has got a key');
}

ok(with(scan('other.domain.pl') . scan($Story::name), qr/started/), 'a scan of what hub.conf does not have');
ok(heard(qr/does not say watch for certificate "other\.domain\.pl"/), 'a certificate without watch is refused');
my ($der, $secret) = (scalar `openssl x509 -in $top/pair/a.crt -outform der`, scalar `openssl pkey -in $top/pair/a.key -outform der`);
ok(heard(qr/\Q$der\E/), 'and one of what it has is answered, with the certificate');
my $told = Story::read_file("$top/heard");
ok($told !~ /PRIVATE KEY/ && index($told, substr $secret, 36, 32) < 0, 'and nothing of its private key');
ok(with(keys_of('stranger', $ed25519), qr/started/), 'a key for an agent that hub.conf does not have');
ok(heard(qr/has no section agent "stranger"/), 'an agent without a section is refused');
ok(!-e "$top/gate/authorized_keys", 'and not written');
ok(with(keys_of('here', $ed25519), qr/started/), 'one for an agent that it has');
ok($story->until('keys', sub { Story::read_file("$top/gate/authorized_keys") =~ /^restrict,command="here:\Q@{[substr $ed25519, -32]}\E" \Q$ed25519\E certsync:here$/m }), 'is written, bound by its command')
	or diag(Story::read_file("$top/gate/authorized_keys"));
unlink "$top/gate/authorized_keys";

# The daemon asks without end for things whose refusals are long.
make_path("$top/" . 'd' x 200);
$conf = "$top/" . 'd' x 200 . '/hub.conf';
system('cp', "$top/hub.conf", $conf) == 0 or die;
ok(with(scan('a.b') x 2000, qr/error="it does not read what it asked for"/, 'slow'), 'a daemon that does not read what it asked for is killed');
ok($story->until('another', sub { started() > 1 }), 'and started again');
$conf = "$top/hub.conf";
# The daemon has closed its end and does not go.
ok(with('', qr/started/, 'shut', 'stay'), 'one that hangs up');
ok($story->until('another', sub { started() > 1 }), 'is ended, and another one started');
# The daemon's program is missing.
$story->stop('hub');
unlink "$top/hub.log";
rename "$top/bin/certsync", "$top/bin/away";
$story->start('hub', "$top/bin/certsync-hub-root", '-c', "$top/hub.conf");
ok($story->until('the reason', sub { $story->log('hub') =~ m{name=daemon error="[^"]*$top/bin/certsync: [^"]*" again_ms=1000} }), 'a program that is missing is named') or diag($story->log('hub'));
rename "$top/bin/away", "$top/bin/certsync";
ok($story->until('a start', sub { started() }), 'and started once it is there');
$story->ends_clean;
done_testing;
