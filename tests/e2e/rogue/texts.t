#!/usr/bin/perl
# Daemons that mean ill towards whoever asks them, who may be root: each command is answered by a false daemon with
# texts that would steer a terminal, forge rows or hide. What is printed, as a table and as JSON, has none of it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../rogue";
use Encode ();
use IO::Socket::UNIX;
use JSON::PP;
use Peer;
use Story;
use Test::More;

my $story = Story->new;
my $top = $story->top;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

# The text has an escape sequence, one of eight bits, a row, the end of a row, an override of direction, and a space of
# no width.
my $evil = "\e]0;owned\a\e[2J\x{9b}31m no\n  victim  verified  1.9\rroot\x{202e}deifirev\x{200b}";

sub texts { my (@keys) = @_; return map { $_ => "$_$evil" } @keys }
my %probe = (texts('endpoint', 'service', 'fingerprint', 'text'), served => $false, match => $false, stopped => $false);
my @hub = (
	{event => 'certificate', texts(qw(revision not_after source fingerprint not_rolled_back store_error)), certificate => $Story::name, converged => $false,
		renewal => {texts(qw(step error due)), running => $true, failures => 1}, watch => {texts('error')}, next_keys => [$evil], warnings => [$evil]},
	{event => 'agent', certificate => $Story::name, texts(qw(agent state served since step error danger drifted drift rival desired)), connected => $true,
		output => "one\ntwo\e[31m\x{202e}", probes => [\%probe]},
	{event => 'progress', certificate => $Story::name, texts('agent', 'step', 'error'), state => 'failed'},
	{event => 'revision', texts(qw(revision published not_after source fingerprint reason outcome))},
	{event => 'endpoint', texts(qw(name endpoint verdict reason advice)), since => 1},
	{event => 'alert', texts(qw(kind subject text since))},
	{event => 'order', certificate => $Story::name, texts('step')},
	{event => 'result', exit => 1, texts('error', 'warning')},
);
my @agent = (
	{event => 'hub', texts(qw(hub state since name failure failed_at next_try))},
	{event => 'certificate', certificate => $Story::name, texts(qw(revision state not_after staged fingerprint held_until unverified)), probes => [\%probe],
		failure => {texts(qw(at revision step text)), rolled_back => $true, output => "one\ntwo\e[31m\x{202e}"}},
	{event => 'progress', certificate => $Story::name, texts('what', 'text')},
	{event => 'result', exit => 1, texts('error')},
);

# Answers everybody in the same way, for ever.
sub false_daemon {
	my ($path, @answers) = @_;
	my $listening = IO::Socket::UNIX->new(Local => $path, Listen => 8) or die "$path: $!";
	my $pid = fork // die $!;
	return $pid if $pid;
	local $SIG{PIPE} = 'IGNORE';
	while (my $client = $listening->accept) {
		my $peer = bless {peer => $client, in => ''}, 'Peer';
		$peer->hear(5);
		$peer->say($_) for @answers;
		close $client;
	}
	exit 0;
}

sub is_clean {
	my ($what, $bytes, @wanted) = @_;
	my $text = eval { Encode::decode('UTF-8', $bytes, Encode::FB_CROAK) };
	ok(defined $text, "$what: valid UTF-8") or return;
	unlike($text, qr/(?![\n\t])\p{Cc}/, "$what: no control character") or diag($text);
	unlike($text, qr/[\p{Cf}\p{Zl}\p{Zp}]/, "$what: nothing hidden, nothing that reorders");
	unlike($text, qr/^  victim/m, "$what: no row of its own");
	like($text, $_, "$what: yet it is told") for @wanted;
}

$story->hub_conf(agents => ['mail']);
mkdir "$top/hub.run";
my @daemons = (false_daemon("$top/hub.run/control.sock", @hub));
is_clean("certsync @$_", scalar `$Story::bin/certsync @$_ -c $top/hub.conf 2>&1`, qr/owned/)
	for ['status'], ['status', '--json'], ['history', $Story::name], ['history', $Story::name, '--json'], ['push'], ['push', '--json'], ['alert', 'list'], ['agent', 'list'], ['renew', $Story::name];

my $dir = $story->agent_conf('here');
my ($run) = Story::read_file("$dir/agent.conf") =~ /^\s*run = "([^"]+)"/m or BAIL_OUT(Story::read_file("$dir/agent.conf"));
mkdir $run;
push @daemons, false_daemon("$run/control.sock", @agent);
is_clean("certsync-agent @$_", scalar `$Story::bin/certsync-agent @$_ -c $dir/agent.conf 2>&1`, qr/owned/) for ['status'], ['status', '--json'], ['pull'], ['pull', '--json'];
is_clean('certsync-agent doctor', scalar `$Story::bin/certsync-agent doctor -c $dir/agent.conf 2>&1`);

kill 'TERM', @daemons;
done_testing;
