#!/usr/bin/perl
# A node joins by one line: over a real sshd on another port and over IPv6 alone, as the users of a real node; each refusal
# with its reason on both sides, nothing left behind, and the secret nowhere but in the line.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use MIME::Base64;
use Digest::SHA qw(sha256_hex);
use Join;
use Test::More;

Separate->enter;
my $s = Join->new;
my $top = $s->top;
my $port = 2222;
my $conf = '/etc/certsync/agent.conf';
my $authorized = $Join::authorized;

# The same line with something else in it, and check digits that fit.
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

# Another node: nothing is left of this one.
sub refresh {
	system('rm -rf /var/lib/certsync-agent /var/lib/certsync-agent-root /etc/certsync') == 0 or die 'rm';
}

# Everything that was ever written while the stories ran, but the terminal's own line.
sub holders_of {
	my (@secrets) = @_;
	my @found;
	my $pattern = join '|', map { quotemeta } map { ($_, decode_base64($_)) } @secrets;
	for my $path (split /\n/, `find /mnt /run /tmp -xdev -type f 2>/dev/null`) {
		next if $path =~ m{^/mnt/programs/};
		push @found, $path if Story::read_file($path) =~ /$pattern/;
	}
	return @found;
}

$s->hub_begins("certsync-gate\@127.0.0.1:$port", qw(here mail backup1 backup2));
$s->sshd_at('sshd', "$top/host", "127.0.0.1:$port", '[::1]:2223');
system("ssh-keygen -q -t ed25519 -N '' -f $top/other");
$s->sshd_at('between', "$top/other", '127.0.0.1:2224'); # all else the same, another host key

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

# ---- joining ----

my ($code, $said) = $s->join_with($line);
is($code, 0, 'the node joins with the line of before') or diag($said, $s->log('hub'), $s->log('sshd'));
like($said, qr/joined as agent mail/, 'and is told so');
like(Story::read_file($conf), qr{hub = \{"ssh://certsync-gate\@127\.0\.0\.1:$port"\}.*certificate "mail\.domain\.pl"}s, 'it has a first agent.conf');
is((stat $conf)[2] & 07777, 0640, 'which others may not read');
is(`$Story::bin/certsync-agent config 2>&1 >/dev/null`, '', 'and which the agent takes');
is(Story::read_file('/etc/certsync/pins/host_keys') =~ /^SHA256/m, 1, 'the host key is pinned');
my @lines = $s->key_lines('mail');
is(scalar(grep { /^restrict,command="mail" / } @lines), 1, 'sshd has the key of the agent');
$s->start('agent', "$Story::bin/certsync-agent-root");
$s->until('connected', sub { $s->state_of('mail')->{connected} }) or diag($s->log('agent'), $s->log('hub'), $s->log('sshd'));
is($s->state_of('mail')->{connected}, JSON::PP::true, 'and the agent connects with it');
like($s->line_of(qw(add mail)), qr/exit 2: .*agent rotate mail/s, 'another line for an agent that is connected is not given out');

system("mv /etc/certsync /etc/certsync.joined");
refused('a used line', $line, qr/the hub refuses: this line was used up at \d{4}-/, qr/agent=mail result=refused reason="this line was used up/);
system("mv /etc/certsync.joined /etc/certsync");

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

# ---- list, remove ----

my ($listed, $table) = $s->certsync('agent', 'list', '--json');
my %agents = map { $_->{agent} => $_ } @{decode_json($table)->{agents}};
is($agents{mail}{state}, 'away', 'the list says who is away');
like($agents{mail}{last_seen}, qr/^\d{4}-/, '  since when');
like($agents{mail}{ssh}, qr/^SHA256:/, '  and which key it has');
is($agents{backup1}{state}, 'not joined', '  and who has none');
($code, $said) = $s->certsync('agent', 'remove', 'mail');
is($code, 0, 'an agent is removed');
like($said, qr/still has its section/, 'and hub.conf is told of');
is(scalar $s->key_lines('mail'), 0, 'its key is gone');
like(Story::read_file($authorized), qr/^# the administrator's\nssh-ed25519 \S+ admin\@desk\n/, "the administrator's lines are not");

# ---- the secret ----

is_deeply([holders_of(map { /secret=(\S+)/ } $line, $late, $six)], [], 'no file, no log holds a secret');
$s->ends_clean;
done_testing;
