#!/usr/bin/perl
# A node joins by one line, over a real sshd on another port and over IPv6 alone, as the users of a real node. Each
# refusal has its reason on both sides, nothing is left behind, and the secret is nowhere but in the line.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP;
use MIME::Base64;
use Digest::SHA qw(hmac_sha256 sha256_hex);
use Join;
use Test::More;

Separate->enter;
my $s = Join->new;
my $top = $s->top;
my $port = 2222;
my $conf = '/etc/certsync/agent.conf';
my $authorized = $Join::authorized;

# Returns the line with something changed, and with check digits that fit.
sub altered {
	my ($line, $old, $new) = @_;
	$line =~ s/ check=.*//;
	$line =~ s/$old/$new/ or die "nothing to alter in $line";
	return "$line check=" . substr sha256_hex($line), 0, 8;
}

sub left_behind {
	return grep { -e } $conf, '/etc/certsync/pins';
}

sub refused {
	my ($what, $line, $node, $hub) = @_;
	my $before = length $s->log('hub');
	my ($code, $out) = $s->join_with($line);
	is($code != 0, 1, "$what is refused");
	like($out, $node, '  with its reason on the node');
	like(substr($s->log('hub'), $before), $hub, "  and in the hub's log") if $hub;
	is_deeply([left_behind()], [], '  and nothing is left behind');
	return $out;
}

# Makes this another node, on which nothing is left of the one before.
sub refresh {
	system('rm -rf /var/lib/certsync-agent /var/lib/certsync-agent-root /etc/certsync') == 0 or die 'rm';
}

# Computes HKDF-SHA256 without a salt, for one block.
sub login_key {
	my ($secret) = @_;
	return hmac_sha256("certsync join 1 login key\x01", hmac_sha256($secret, "\0" x 32));
}

# Returns which files and processes hold one of these secrets, of everything that was ever written while the stories
# ran, but for the terminal's own line.
sub holders_of {
	my (@secrets) = @_;
	my @found;
	my $pattern = join '|', map { quotemeta } map { ($_, decode_base64($_), login_key(decode_base64($_))) } @secrets;
	for my $path (split /\n/, `find /mnt/etc /mnt/var /mnt/tmp /run -xdev -type f`) {
		my $text = Story::read_file($path);
		my @keys = map { decode_base64($_) } $text =~ /-----BEGIN [^-]*PRIVATE KEY-----\n([^-]*)/g;
		push @found, $path if grep { /$pattern/ } $text, @keys;
	}
	return @found;
}

$s->hub_begins("certsync-gate\@127.0.0.1:$port", qw(here mail backup1 backup2));
$s->sshd_at('sshd', "$top/host", "127.0.0.1:$port", '[::1]:2223');
system("ssh-keygen -q -t ed25519 -N '' -f $top/other");
$s->sshd_at('between', "$top/other", '127.0.0.1:2224'); # is like the others, but has another host key

# ---- the hub's own node ----

{
	my ($code, $said) = $s->join_with($s->line_of(qw(add here)));
	is($code, 0, "the agent of the hub's own node joins by the local socket") or diag($said, $s->log('hub'));
	like(Story::read_file($conf), qr{hub = \{"unix:///run/certsync-hub/local\.sock"\}}, 'and finds the hub there');
	refresh();
}

# ---- refusals ----

my $line = $s->line_of(qw(add mail));
like($line, qr{^certsync-hub:1 ssh://certsync-gate\@127\.0\.0\.1:$port sign=ed25519:\S{44} host=SHA256:\S{43} agent=mail expires=\d+ secret=\S{44} check=[0-9a-f]{8}$},
	'agent add prints one line');
my ($secret) = $line =~ /secret=(\S+)/;
my ($key_line) = $s->key_lines('mail');
like($key_line, qr/^restrict,expiry-time="\d{14}",command="join:mail" ssh-ed25519 \S+ certsync:mail$/, 'sshd has its key, with an end');
like(Story::read_file($authorized), qr/^# the administrator's\nssh-ed25519 \S+ admin\@desk\n/, "below the administrator's lines");
is((stat "$top/hub/records/joins/mail/line")[2] & 07777, 0600, 'what is kept of it is for the hub alone');

refused('a line that was cut', substr($line, 0, -20), qr/was cut/);
refused('a line with one letter changed', $line =~ s/agent=mail/agent=nail/r, qr/changed on its way/);
my $out = refused('another host key', altered($line, ":$port ", ':2224 '), qr/HOST KEY IS NOT THE LINE'S: it is SHA256:/,
	undef);
ok($s->until('log', sub { $s->log('between') =~ /Connection .*127\.0\.0\.1.*\[preauth\]|Disconnected from.*preauth/i }), '  seen there as well') or diag($s->log('between'));
like($out, qr/stands in between/, '  and what that may mean');
unlike($s->log('between'), qr/publickey/, '  before any login was tried');
refused('another secret', altered($line, 'secret=\S{4}', 'secret=AAAA'), qr/sshd refuses the line's key: it is used up or expired/, undef);
refused('another signing key', altered($line, 'sign=ed25519:\S{6}', 'sign=ed25519:AAAAAA'), qr/the HMAC is wrong: the line was changed/, qr/agent=mail result=refused reason="the HMAC is wrong/);

my $second = $s->line_of(qw(add mail));
refused('the first line after a second one', $line, qr/has printed a newer line/);
$line = $second;
is(scalar $s->key_lines('mail'), 1, 'the second line has replaced the first');

# ---- a hub that starts again ----

$s->hub_again;

# ---- changed ones, until the line is worth nothing ----

{
	my $changed = altered($line, 'sign=ed25519:\S{6}', 'sign=ed25519:AAAAAA');
	$s->join_with($changed) for 1 .. 2;
	refused('the third wrong HMAC', $changed, qr/tried too often/, qr/agent=mail result=refused .*tried too often/);
	refused('after it the right line', $line, qr/used up at/, qr/agent=mail result=refused reason="this line was used up/);
	$line = $s->line_of(qw(add mail));
}

# ---- joining ----

# Looks at what can be seen of all processes while the hub, which is stopped, owes an answer, and at how the join ends
# when the hub then gets this signal.
sub look_at_processes {
	my ($signal) = @_;
	my ($daemon) = grep { Story::read_file("/proc/$_/cmdline") =~ /certsync\0hub\0/ } map { s{.*/}{}r } glob '/proc/[0-9]*';
	kill 'STOP', $daemon;
	my $pid = fork // die $!;
	if ($pid == 0) {
		my ($code, $said) = $s->join_with($line);
		Story::write_file("$top/joined", "$code\n$said");
		POSIX::_exit(0);
	}
	my $link = sub { grep { Story::read_file($_) =~ /certsync-link\0/ } glob '/proc/[0-9]*/cmdline' };
	$s->until('gate', sub { `pgrep -x certsync-gate` =~ /\d/ && $link->() });
	my $seen = join "\0", map { Story::read_file($_) } glob '/proc/[0-9]*/cmdline /proc/[0-9]*/environ';
	my ($linked) = $link->();
	my ($uid) = Story::read_file($linked =~ s/cmdline/status/r) =~ /^Uid:\s+(\d+)/m;
	kill $signal, $daemon;
	waitpid $pid, 0;
	return ($seen, $uid, split /\n/, Story::read_file("$top/joined"), 2);
}

my (undef, undef, $killed, $why) = look_at_processes('KILL');
isnt($killed, 0, 'a hub that is killed in the middle lets nobody join');
like($why, qr/its log says why|ended with exit status|connection/, '  with what the node can know of it');
is_deeply([left_behind()], [], '  and nothing is left behind');
$s->until('hub', sub { ($s->certsync('status'))[0] != 4 });

my ($seen, $uid, $code, $said) = look_at_processes('CONT');
($secret) = $line =~ /secret=(\S+)/;
like($seen, qr/certsync-agent\0join/, 'while it joins it can be looked at');
is(index($seen, $secret), -1, 'and no argument and no environment holds the secret');
is($uid, scalar getpwnam('certsync-agent'), "the link is the agent's user");
is($code, 0, 'the node joins with the same line, which was not spent') or diag($said, $s->log('hub'), $s->log('sshd'));
like($said, qr/joined as agent mail.*next: systemctl enable --now certsync-agent/s, 'and is told so, and what is next');
like(Story::read_file($conf), qr{hub = \{"ssh://certsync-gate\@127\.0\.0\.1:$port"\}.*certificate "mail\.domain\.pl"}s, 'it has a first agent.conf');
is((stat $conf)[2] & 07777, 0640, 'which others may not read');
is(`$Story::bin/certsync-agent config 2>&1 >/dev/null`, '', 'and which the agent takes');
is(Story::read_file('/etc/certsync/pins/host_keys') =~ /^SHA256/m, 1, 'the host key is pinned');
my @lines = $s->key_lines('mail');
is(scalar(grep { /^restrict,command="mail:\S+" / } @lines), 1, 'sshd has the key of the agent');
$s->start('agent', "$Story::bin/certsync-agent-root");
$s->until('connected', sub { $s->state_of('mail')->{connected} }) or diag($s->log('agent'), $s->log('hub'), $s->log('sshd'));
is($s->state_of('mail')->{connected}, JSON::PP::true, 'and the agent connects with it');
like($s->line_of(qw(add mail)), qr/exit 2: .*agent rotate mail/s, 'another line for an agent that is connected is not given out');

system("mv /etc/certsync /etc/certsync.joined");
refused('a used line', $line, qr/the hub refuses: this line was used up at \d{4}-/, qr/agent=mail result=refused reason="this line was used up/);
system("mv /etc/certsync.joined /etc/certsync");

# ---- keys given by hand: the old ones' connection ends, and a line that is still open is worth nothing ----

$s->until('connected', sub { $s->state_of('mail')->{connected} });
like($s->line_of(qw(rotate mail)), qr/keys=new secret=/, 'a line for new keys is open');
is(scalar $s->key_lines('mail'), 2, 'sshd has its key beside that of the agent');
my ($by_hand) = Story::read_file("$top/other.pub") =~ /^(\S+ \S+)/;
my @give = ('agent', 'add', 'mail', '--key', "'certsync-agent:1 $by_hand x25519:" . encode_base64('k' x 32, '') . "'");
my ($added, $told) = $s->certsync(@give);
is($added, 2, 'keys of an agent that has some are not replaced without a word');
like($told, qr/agent mail has keys \(SSH key SHA256:\S+, since \S+\) and is connected with them: are others to take their place\? Then say --replace/, '  but asked for');
is(scalar $s->key_lines('mail'), 2, '  and nothing has changed');
($added, $told) = $s->certsync(@give, '--replace');
is($added, 0, 'other keys are given by hand') or diag($told);
is_deeply([$s->key_lines('mail')], ["restrict,command=\"mail:@{[substr $by_hand, -32]}\" $by_hand certsync:mail"], 'sshd has these alone');
ok($s->until('ended', sub { $s->log('hub') =~ /event=disconnected agent=mail reason="it was added anew with other keys"/ }),
	'and whoever was connected with the old ones is no more') or diag($s->log('hub'));

# ---- expired ----

my $late = $s->line_of(qw(add backup1));
$s->stop('hub');
my $record = "$top/hub/records/joins/backup1/line";
my $bytes = Story::read_file($record);
substr $bytes, 1, 8, pack('Q>', time - 60);
Story::write_file($record, $bytes);
$s->hub_again;
$s->until('keys', sub { ($s->key_lines('backup1'))[0] =~ /expiry-time/ });
$s->stop('agent');
system("mv /etc/certsync /etc/certsync.joined");
refused('an expired line', $late, qr/the hub refuses: this line expired at/, qr/agent=backup1 result=refused reason="this line expired/);

# ---- IPv6 alone ----

system("ip -4 address flush dev lo");
$s->change_hub(qr/^ssh = .*/m, 'ssh = "certsync-gate@[::1]:2223"');
refresh();
my $six = $s->line_of(qw(add backup2));
like($six, qr{ssh://certsync-gate\@\[::1\]:2223 }, 'a hub on IPv6');
($code, $said) = $s->join_with($six);
is($code, 0, 'a node joins over IPv6 alone, on another port') or diag($said, $s->log('hub'), $s->log('sshd'));

# ---- an agent.conf that is there already ----

refresh();
mkdir '/etc/certsync';
my $own = "# mine\nhub = {\"ssh://certsync-gate\@[::1]:2223\"}\n";
Story::write_file($conf, $own, 0640);
($code, $said) = $s->join_with($s->line_of(qw(add backup1)));
is($code, 0, 'a node that has an agent.conf joins');
is(Story::read_file($conf), $own, 'and it stays as it is');
like($said, qr/stays as it is; what follows is not in it yet.*certificate "mail\.domain\.pl"/s, 'what it lacks is printed');

# ---- list, remove ----

my ($listed, $table) = $s->certsync('agent', 'list', '--json');
my %agents = map { $_->{agent} => $_ } @{decode_json($table)->{agents}};
is($agents{mail}{state}, 'away', 'the list says who is away');
like($agents{mail}{last_seen}, qr/^\d{4}-/, '  since when');
like($agents{mail}{ssh}, qr/^SHA256:/, '  and which key it has');
is($agents{here}{state}, 'away', '  the one of this node too');
is($agents{backup2}{certificates}[0], 'mail.domain.pl', '  and what each gets');
($code, $said) = $s->certsync('agent', 'remove', 'mail');
is($code, 0, 'an agent is removed');
like($said, qr/still has its section/, 'and hub.conf is told of');
is(scalar $s->key_lines('mail'), 0, 'its key is gone');
like(Story::read_file($authorized), qr/^# the administrator's\nssh-ed25519 \S+ admin\@desk\n/, "the administrator's lines are not");

# ---- the secret ----

{
	my ($known) = $line =~ /secret=(\S+)/;
	Story::write_file("$top/planted.text", "secret=$known\n");
	Story::write_file("$top/planted.key", join "\n", '-----BEGIN OPENSSH PRIVATE KEY-----', encode_base64('x' . login_key(decode_base64($known))) .
		'-----END OPENSSH PRIVATE KEY-----', '');
	is_deeply([sort(holders_of($known))], ["$top/planted.key", "$top/planted.text"], 'a secret in a file would be found, and a key in one');
	unlink "$top/planted.text", "$top/planted.key";
}
is_deeply([holders_of(map { /secret=(\S+)/ } $line, $late, $six)], [], 'no file, no log holds a secret, or the key that it becomes');
$s->ends_clean;
done_testing;
