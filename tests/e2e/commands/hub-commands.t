#!/usr/bin/perl
# What `certsync` says at wrong words, and what the hub makes of nonsense on its control socket: each is refused with
# the reason, nothing comes of it, and the daemon lives on. The authority never answers, and host keys cannot be read.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../rogue";
use Agent;
use File::Path qw(make_path);
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my $name = $Story::name;
my ($exit, $text);

# This authority accepts connections and never says a word.
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 20) or die $!;
my $acme = join '', map { "acme \"$_\" { directory = \"https://127.0.0.1:@{[$silent->sockport]}/dir\" agree_tos = true }\n" } 'silent', 'orders';
$acme .= "certificate \"$name\" {}\ncertificate \"www.domain.pl\" { acme = \"orders\" preflight = \"off\" }\n";
ok($story->hub(certificates => $acme, agents => ['here', 'mail', 'web-']), 'a hub starts') or BAIL_OUT($story->log('hub'));
$story->pair('first');

sub refused {
	my ($words, $code, $wanted) = @_;
	($exit, $text) = $story->certsync(map { /[^\w.-]/ || $_ eq '' ? "'$_'" : $_ } @$words);
	is($exit, $code, "@$words: refused") or diag($text);
	like($text, $wanted, '  with the reason');
}

# ---- before anything is published ----

refused(['push', $name], 3, qr/\Q$name\E: nothing has been published yet \(certsync status says why\)/);
refused(['check', '--expect', $name, 'localhost'], 2, qr/--expect \Q$name\E: the hub has published nothing under it yet/);
refused(['revoke', 'www.domain.pl'], 2, qr/www\.domain\.pl: nothing has been published yet/);
$story->import('first');

# ---- wrong words ----

my $key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g';
my $seal = 'x25519:' . encode_base64('s' x 32, '');
my $missing = "$top/missing.pem";
refused(@$_) for
	[['push', 'other.domain.pl'], 2, qr/hub\.conf has no certificate "other\.domain\.pl"/],
	[['push', '--agent', 'nobody'], 2, qr/hub\.conf has no agent "nobody"/],
	[['renew', 'other.domain.pl'], 2, qr/hub\.conf has no certificate "other\.domain\.pl"/],
	[['renew', $name], 2, qr/\Q$name\E is not an ACME certificate: whoever writes it renews it/],
	[['rollback', 'other.domain.pl'], 2, qr/hub\.conf has no certificate/],
	[['history', 'other.domain.pl'], 2, qr/hub\.conf has no certificate/],
	[['revoke', $name], 2, qr/\Q$name\E is not an ACME certificate: revoke it where it was obtained, then import another/],
	[['revoke', 'other.domain.pl'], 2, qr/hub\.conf has no certificate "other\.domain\.pl"/],
	[['revoke', $name, '--reason', 'boredom'], 2, qr/--reason: "boredom" is not one of .*keyCompromise/],
	[['account', 'show', 'nobody'], 2, qr/hub\.conf has no acme "nobody"/],
	[['import', $name, '--key', "$top/first.key"], 2, qr/import needs --key FILE and --chain FILE/],
	[['import', $name, '--key', $missing, '--chain', "$top/first.crt"], 2, qr/\Q$missing\E/],
	[['agent', 'add', 'A/b'], 2, qr{"A/b" is not a name for an agent: a-z}],
	[['agent', 'remove', 'A/b'], 2, qr{"A/b" is not a name for an agent}],
	[['agent', 'remove', 'nobody'], 2, qr/there is no agent "nobody": certsync agent list shows them/],
	[['agent', 'add', 'nobody'], 2, qr/hub\.conf has no section agent "nobody": add it, tell the hub \(SIGHUP/],
	[['agent', 'add', 'nobody', '--key', "certsync-agent:1 $key $seal"], 2, qr/hub\.conf has no section agent "nobody"/],
	[['agent', 'add', 'mail', '--key', 'my key'], 2, qr/this is not the line of an agent \(certsync-agent:1 TYPE KEY/],
	[['agent', 'add', 'mail', '--key', "certsync-agent:1 ssh-dss AAAA $seal"], 2, qr/"ssh-dss .*" is not an SSH public key that is taken here/],
	[['agent', 'add', 'mail', '--key', "certsync-agent:1 $key x25519:AAAA"], 2, qr/the sealing key has 3 bytes, not 32/],
	[['agent', 'add', 'mail', '--key', "certsync-agent:1 $key x25519:!!"], 2, qr/base64/i];
$text = `$Story::bin/certsync agent add mail --key - -c $top/hub.conf 2>&1 </dev/null`;
is($? >> 8, 2, 'agent add --key - without a line is refused');
like($text, qr/standard input has no line: run `certsync-agent identity` on the node/, '  with where it comes from');
Story::write_file("$top/wrong.conf", "ssh = 7 8\n");
for my $words ('status', 'status --watch', "import $name --key $top/first.key --chain $top/first.crt", 'agent list', 'check', 'push') {
	$text = `$Story::bin/certsync $words -c $top/wrong.conf 2>&1 </dev/null`;
	is($? >> 8, 2, "$words with a faulty hub.conf");
	like($text, qr/wrong\.conf:1: /, '  names the line');
}
unlike(($story->certsync('agent', 'list', '--json'))[1], qr/"ssh"/, 'nobody has keys after all that');

# ---- keys by hand ----

is(($story->certsync('agent', 'add', 'mail', '--key', "'certsync-agent:1 $key $seal'"))[0], 0, 'keys are given by hand');
refused(['agent', 'add', 'web', '--key', "certsync-agent:1 $key " . 'x25519:' . encode_base64('t' x 32, '')], 2,
	qr/agent mail has this key already: is this line of another node, or of a clone\?/);
refused(['agent', 'rotate', 'web'], 2, qr/agent web has no keys yet: `certsync agent add web` prints its line/);
is(($story->certsync('agent', 'add', 'web'))[0], 0, 'a line is printed for another');
($exit, $text) = $story->certsync('agent', 'list');
is($exit, 0, 'agents are listed');
my $hour = qr/\d{4}-\d\d-\d\dT\S+Z/;
like($text, qr/^AGENT +STATE +LAST SEEN +KEYS SINCE +CERTIFICATES +VERSION +SSH KEY$/m, '  in a table');
like($text, qr/^here +away +never +- +1 +- +\(local\)$/m, '  the one of this node');
like($text, qr/^mail +away +never +$hour +1 +- +SHA256:\S{43}$/m, '  one with its key');
like($text, qr/^web +may join until $hour +never +- +0 +- *$/m, '  one who may join, and until when') or diag($text);

# ---- an authority that does not answer ----

# This is an account as the first order leaves it, with a change of its key whose answer was lost.
my $records = "$top/hub/records";
make_path("$records/acme/silent", "$records/acme-next/silent");
for my $record ("$records/acme", "$records/acme-next") {
	$story->openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $top/account.key");
	$story->openssl("pkey -in $top/account.key -pubout -outform der -out $record/silent/account.pub");
	rename "$top/account.key", "$top/hub-keys/account/" . sha256_hex(Story::read_file("$record/silent/account.pub")) . '.pem' or die $!;
}
my $directory = "https://127.0.0.1:@{[$silent->sockport]}/dir";
Story::write_file("$records/acme/silent/account.json", encode_json({directory => $directory, url => "$directory/7"}));
Story::write_file("$records/acme/silent/contact.json", encode_json({contact => ['mailto:admin@domain.pl']}));
($exit, $text) = $story->certsync('account', 'show');
is($exit, 0, 'account show exits with 0');
like($text, qr{^silent  \Q$directory\E\n  account \Q$directory\E/7\n  thumbprint of its key \S{43}\n  contact mailto:admin\@domain\.pl\n  a change of its key has begun}m,
	'  with the directory, the account, its key and contact, and what is not settled') or diag($text);
like($text, qr{^orders  \Q$directory\E\n  account none yet: the first order makes it$}m, '  and that there is none yet');
unlike(($story->certsync('account', 'show', 'silent'))[1], qr/^orders/m, 'the one that was asked for');

my $control = "$top/hub.run/control.sock";
sub ask { my ($bytes) = @_; my $peer = Agent->new(socket => $control); $peer->raw($bytes); return $peer }
# Returns the last answer, and whether the connection ended then.
sub last_of {
	my ($peer) = @_;
	my ($last, $heard);
	$last = $heard while ($heard = $peer->hear(10)) && !$heard->{closed};
	return ($last // {}, $heard && $heard->{closed});
}
sub request { return join '', map { Peer::message($_) } @_ }

my $gone = ask(request({command => 'account', op => 'deactivate', name => 'silent'}));
ok($story->until('busy', sub { $story->child('hub', qr/certsync-worker\0account/) }), 'a worker waits for the authority');
refused(['account', 'rollover', 'silent'], 1, qr/account silent: deactivate is under way: try again when it is done/);
close $gone->{peer};
is(($story->certsync('history', $name))[0], 0, 'who has asked for it goes, and the hub lives on');
my $worker = $story->child('hub', qr/certsync-worker\0account/);
kill 'KILL', $worker if $worker;
ok($story->until('over', sub { !$story->child('hub', qr/certsync-worker\0account/) }), 'its worker dies, and nobody is there to be told');
is(($story->certsync('history', $name))[0], 0, 'which the hub survives, too');

# ---- nonsense at the control socket ----

my %push = (command => 'push', certificates => []);
my $files = Peer::frame(3, 'no files');
for (['no JSON', request('status'), qr/not an object|JSON/], ['a list', request('["status"]'), qr/not an object/], ['no command', request({}), qr/command/],
	['a number for a command', request({command => 7}), qr/command/], ['an unknown command', request({command => 'reboot'}), qr/knows no command "reboot"/],
	['an escape sequence for a command', request({command => "\e[2J"}), qr/^[^\e]*$/],
	['files that nobody asked for', $files, qr/one request at a time/],
	['a push of no list', request({%push, certificates => $name}), qr/certificates/], ['a push of numbers', request({%push, certificates => [7]}), qr/\S/],
	['a push to no list', request({%push, agents => 'here'}), qr/agents/], ['a push to numbers', request({%push, agents => [7]}), qr/\S/],
	['a push to too many', request({%push, agents => [('here') x 5000]}), qr/agents/], ['a push of nothing at all', request({command => 'push'}), qr/certificates/],
	['a renewal of no list', request({command => 'renew', certificates => {}}), qr/certificates/],
	['a rollback to no revision', request({command => 'rollback', certificate => $name, revision => 7}), qr/a revision is written like 1\.7/],
	['an account of no list', request({command => 'account', op => 'show', names => 'silent'}), qr/names/],
	['an account of numbers', request({command => 'account', op => 'show', names => [7]}), qr/\S/],
	['an account without a deed', request({command => 'account'}), qr/op/],
	['an unknown deed', request({command => 'account', op => 'sell', name => 'silent'}), qr/cannot do "sell" to an account/],
	['a revocation without a reason', request({command => 'revoke', certificate => $name}), qr/reason/],
	['a revocation for no reason', request({command => 'revoke', certificate => 'www.domain.pl', reason => 'boredom'}), qr/"boredom" is not one of the reasons/],
	['an agent without a name', request({command => 'agent-remove'}), qr/name/], ['an agent without a key', request({command => 'agent-add', name => 'mail'}), qr/key/],
	['an agent with a key of 3000 letters', request({command => 'agent-add', name => 'mail', key => 'x' x 3000}), qr/key/],
	['to join as nobody', request({command => 'agent-join', name => 'nobody'}), qr/no section agent "nobody"/]) {
	my ($what, $bytes, $wanted) = @$_;
	my ($answer, $closed) = last_of(ask($bytes));
	isnt($answer->{exit} // 0, 0, "$what: refused");
	like($answer->{error}, $wanted, "$what: with the reason");
	ok($closed, "$what: and the connection ends");
}
my %files = ('files that are none' => ['no files', 1, qr/agent web: \S/], 'no files at all' => [pack('N', 0), undef, qr/\S/]);
for my $what (sort keys %files) {
	my ($bytes, $code, $wanted) = @{$files{$what}};
	my ($answer) = last_of(ask(request({command => 'agent-join', name => 'web'}) . Peer::frame(3, $bytes)));
	isnt($answer->{exit} // 0, 0, "to join with $what: refused");
	like($answer->{error}, $wanted, "to join with $what: with the reason");
}
my ($twice) = last_of(ask(request({command => 'agent-join', name => 'web'}, {command => 'status'})));
is($twice->{exit}, 2, 'a second request in the place of files: refused');
like($twice->{error}, qr/one request at a time/, '  with the reason');
for (['a request of more than 64 KiB', pack('NC', 65538, 1), qr/frame-length/], ['a frame of a type that there is not', Peer::frame(9, 'x'), qr/frame-type/]) {
	my ($answer, $closed) = last_of(ask($_->[1]));
	ok($closed && !%$answer, "$_->[0]: the connection ends");
	like($story->log('hub'), qr/event=control error="[^"]*$_->[2]/, '  and the log says why');
}

# ---- who waits is told when the configuration is read again ----

my @waiting = (ask(request({command => 'renew', certificates => ['www.domain.pl'], force => JSON::PP::true})), ask(request({command => 'status', watch => JSON::PP::true})));
ok($story->until('ordering', sub { $story->child('hub', qr/certsync-worker\0acme/) }), 'an order waits for the authority') or diag($story->log('hub'));
kill 'HUP', $story->{started}{hub};
for (@waiting) {
	my ($answer) = last_of($_);
	is($answer->{exit}, 1, 'who waits while the configuration is read again is told so');
	like($answer->{error}, qr/the hub has read its configuration again or ends: what was begun goes on, ask again/, '  and to ask again');
}

# ---- host keys that cannot be read ----

rename "$top/host.pub", "$top/host.away" or die $!;
refused(['agent', 'add', 'web'], 2, qr/host_keys: .*host\.pub: No such file/);
my ($answer) = last_of(ask(request({command => 'agent-add', name => 'mail', key => "certsync-agent:1 $key $seal"})));
like($answer->{error}, qr/the agent is added, but the line for it cannot be written: host_keys: .*host\.pub/, 'a hub that runs says it when it writes a line');
Story::write_file("$top/host.pub", "no key\n");
refused(['agent', 'add', 'web'], 2, qr/host\.pub: it is not a public key file of sshd/);
rename "$top/host.away", "$top/host.pub" or die $!;
is(($story->certsync('agent', 'add', 'web'))[0], 0, 'and with its keys back it prints the line');

# ---- a record that somebody has changed ----

Story::write_file("$records/agents/mail/agent.json", '{"ssh":"x","seal":"!!"}');
my ($broken) = grep { $_->{agent} eq 'mail' } @{decode_json(($story->certsync('agent', 'list', '--json'))[1])->{agents}};
is($broken->{state}, 'broken', 'keys that cannot be read are listed as such');
like($broken->{error}, qr/the keys of agent mail in the store/, '  with the place');
like(($story->certsync('agent', 'list'))[1], qr/^mail +broken .*the keys of agent mail in the store/m, '  in the table too');
refused(['agent', 'rotate', 'mail'], 2, qr/the keys of agent mail in the store/);
is(($story->certsync('agent', 'add', 'mail', '--key', "'certsync-agent:1 $key $seal'"))[0], 0, 'and new ones mend it');

# ---- nothing to renew ----

my $before = length $story->log('hub');
$story->hub_conf(agents => ['here', 'mail', 'web-']);
kill 'HUP', $story->{started}{hub};
ok($story->until('reload', sub { substr($story->log('hub'), $before) =~ /event=reload result=done/ }), 'hub.conf has no authority any more');
refused(['renew'], 2, qr/hub\.conf has no ACME certificate/);

is(scalar(() = $story->log('hub') =~ /program=certsync-hub event=started/g), 1, 'the daemon has lived on') or diag($story->log('hub'));
$story->ends_clean;
done_testing;
