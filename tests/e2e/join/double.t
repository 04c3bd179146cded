#!/usr/bin/perl
# A real `certsync-agent join` before a double of a hub, on a Unix socket, that hangs up, babbles, or cannot prove that
# it wrote the line; and with lines and an agent.conf that are not in their form. None of these has anything pinned, and
# what is pinned stays.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../rogue";
use Agent;
use Digest::SHA qw(hmac_sha256 sha256 sha256_hex);
use IO::Select;
use IO::Socket::UNIX;
use MIME::Base64;
use Separate;
use Test::More;

Separate->enter;
my $story = Separate->new;
my $top = $story->top;
my $name = $Story::name;

my $socket = "$top/double.sock";
my $double = IO::Socket::UNIX->new(Local => $socket, Listen => 5) or die $!;
my $secret = 'q' x 32;

# Returns the line that this double has written, signed by a key of its own.
sub own_line {
	my ($sign) = @_;
	my $written = "certsync-hub:1 unix://$socket sign=ed25519:" . encode_base64($sign x 32, '') . " agent=here expires=@{[time + 600]} secret=" . encode_base64($secret, '');
	return "$written check=" . substr sha256_hex($written), 0, 8;
}

# Joins with a line; `answer` makes the bytes of the hub's answer from the request. Returns the exit code, what was
# said, and whether the node came.
sub node_joins {
	my ($conf, $line, $answer) = @_;
	Story::write_file("$top/line", $line);
	my $pid = open(my $out, '-|', "$Story::bin/certsync-agent join -c $conf 2>&1 <$top/line") or die $!;
	my $came = 0;
	while (!$came && !IO::Select->new($out)->can_read(0)) {
		IO::Select->new($double, $out)->can_read(10) or last;
		next if !IO::Select->new($double)->can_read(0);
		my $peer = bless {peer => scalar $double->accept, in => ''}, 'Peer';
		my $asked = $peer->hear(10);
		$came = $asked->{type} eq 'frame 5';
		$peer->raw($answer->($asked->{data}));
	}
	my $told = do { local $/; <$out> } // '';
	close $out;
	return ($? >> 8, $told, $came);
}

sub answer_of {
	my ($line, $mac_key, @certificates) = @_;
	my ($before) = $line =~ /^(.*) secret=/;
	return sub {
		my ($request) = @_;
		my $body = "\1\1" . Agent::parts('') . pack('C', scalar @certificates);
		for (@certificates) {
			my ($certificate, @names) = @$_;
			$body .= Agent::parts($certificate) . pack('C', scalar @names) . Agent::parts(@names);
		}
		return Peer::frame(5, $body . hmac_sha256(Agent::parts('certsync join 1 answer', sha256($before), $request, $body), $mac_key));
	};
}

my $dir = $story->agent_conf('here');
my $conf = "$dir/agent.conf";
my $pinned = sub { join '', map { Story::read_file($_) } sort glob "$dir/etc/pins/* $dir/root/pins" };
my $mac = Agent::expand($secret, 'certsync join 1 mac key');
my $line = own_line('a');
for (['a hub that hangs up', sub { '' }, qr/the hub closed the connection without an answer: its log says why/],
	['a hub that babbles', sub { "SSH-2.0-x\r\n" }, qr/frame-/], ['a hub that answers something else', sub { Peer::frame(5, 'x') }, qr/join: /],
	['a hub that has not written the line', answer_of($line, 'k' x 32, [$name, $name]),
		qr/what answered is not the hub that wrote the line: the HMAC of the answer is wrong\. The line is used up; `certsync agent add here` prints a new one/]) {
	my ($code, $told, $came) = node_joins($conf, $line, $_->[1]);
	isnt($code, 0, "$_->[0]: nobody joins");
	like($told, $_->[2], '  with the reason');
	ok($came, '  which asked');
	is($pinned->(), '', '  and nothing is pinned');
}
for (['no line', '', qr/\S/], ['half a line', substr($line, 0, -20), qr/was cut/]) {
	my ($code, $told, $came) = node_joins($conf, $_->[1], sub { '' });
	is($code, 2, "$_->[0]: refused");
	like($told, $_->[2], '  with the reason');
	ok(!$came, '  and the hub was not asked');
}
Story::write_file("$top/faulty.conf", "hub = 7 8\n");
my ($code, $told, $came) = node_joins("$top/faulty.conf", $line, sub { '' });
is($code, 2, 'with a faulty agent.conf nobody joins');
like($told, qr/faulty\.conf:1: .*nothing was sent: mend that first/s, '  it is named');
ok(!$came, '  and the line is still good');
Story::write_file("$top/nowhere.conf", Story::read_file($conf) =~ s{^root_state = .*}{root_state = "$top/line"}mr);
($code, $told, $came) = node_joins("$top/nowhere.conf", $line, sub { '' });
isnt($code, 0, 'with nowhere to keep its keys no node joins');
like($told, qr/certsync-agent-root \S+ .*exit/, '  and it is said who failed');
ok(!$came, '  before the hub was asked');
($code, $told, $came) = node_joins($conf, $line, answer_of($line, $mac));
is($code, 0, 'with the hub that wrote it the node joins') or diag($told);
like($told, qr/stays as it is; what follows is not in it yet:\n\nhub = \{"unix:\/\/\Q$socket\E"\}\n/, '  and is told what its agent.conf lacks: the hub');
($code, $told, $came) = node_joins($conf, $line, answer_of($line, $mac, [$name, $name], ['web.domain.pl', 'web.domain.pl', $name]));
is($code, 0, 'it may join the same hub again') or diag($told);
like($told, qr/stays as it is; what follows is not in it yet:\n.*certificate "web\.domain\.pl"/s, '  and is told which certificate its agent.conf lacks');
my $pins = $pinned->();
isnt($pins, '', '  it is pinned');
my $stranger = own_line('b');
($code, $told, $came) = node_joins($conf, $stranger, answer_of($stranger, $mac));
isnt($code, 0, 'another hub is not joined in its place');
ok(!$came, '  and not even asked, since the line would be used up');
is($pinned->(), $pins, '  what is pinned stays');

done_testing;
