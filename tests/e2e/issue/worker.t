#!/usr/bin/perl
# certsync-worker alone, with this script in the daemon's place: a job that makes no sense is refused with a reason and
# ends with 1, before anything is asked of anybody. Then it is seen what a preflight finds at port 80, in a network of
# the story's own.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;
use Story;
# must come before Orders is read, which makes its directory
BEGIN { Story->enter(qw(unshare --mount --net --propagation private)) }
use Orders;
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use Test::More;

system(qw(ip link set lo up)) == 0 or die;

# ---- the daemon's part ----

sub frame { my ($type, $data) = @_; return pack('NC', length($data) + 1, $type) . $data }
sub message { return frame(1, ref $_[0] ? encode_json($_[0]) : $_[0]) }
sub files {
	my ($label, %files) = @_;
	return frame(3, pack('N/a*C', $label, scalar keys %files) . join '', map { pack 'N/a*N/a*', $_, $files{$_} } sort keys %files);
}

# Says all that and hangs up. Returns what the worker said (messages, decoded), how it ended, and what it wrote to its
# standard error.
sub worker {
	my ($kind, @words) = @_;
	socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die $!;
	my $pid = fork // die $!;
	if ($pid == 0) {
		open STDIN, '<&', $theirs or die $!;
		open STDOUT, '>&', $theirs or die $!;
		open STDERR, '>', "$top/error" or die $!;
		close $_ for $ours, $theirs;
		exec "$Orders::bin/certsync-worker", $kind or die $!;
	}
	close $theirs;
	local $SIG{PIPE} = 'IGNORE';
	local $SIG{ALRM} = sub { kill 'KILL', $pid };
	alarm 60 * ($ENV{CERTSYNC_PATIENCE} // 1);
	syswrite $ours, join '', @words;
	shutdown $ours, 1;
	my $bytes = '';
	1 while sysread $ours, $bytes, 65536, length $bytes;
	waitpid $pid, 0;
	my $end = $?;
	alarm 0;
	my @said;
	while (length $bytes >= 5) {
		my ($len, $type) = unpack 'NC', $bytes;
		push @said, decode_json(substr $bytes, 5, $len - 1) if $type == 1;
		substr $bytes, 0, 4 + $len, '';
	}
	return {said => \@said, end => $end, error => read_file("$top/error")};
}
sub failed {
	my ($what, $pattern, $kind, @words) = @_;
	my $w = worker($kind, @words);
	my $text = join '; ', $w->{error}, map { $_->{text} // '' } @{$w->{said}};
	is($w->{end} >> 8, 1, "$what: exit 1");
	like($text, $pattern, "$what: with the reason") or diag($text);
	is($w->{end} & 127, 0, "$what: by itself");
}

is(worker('nonsense')->{end} >> 8, 2, 'a kind that there is not is exit 2');
like(worker('nonsense')->{error}, qr/^usage: certsync-worker KIND, by certsync hub alone; it knows: acme info /, 'and says so');

# ---- jobs that make no sense ----

openssl("$new -x509 -days 30 -subj /CN=mail.domain.pl -keyout $top/leaf.key -out $top/leaf.pem");
openssl("pkey -in $top/leaf.key -pubout -outform der -out $top/leaf.pub");
my $public = encode_base64(read_file("$top/leaf.pub"), '') =~ tr{+/=}{-_}dr;
my %job = (event => 'job', account_key => $public, certificate => 'mail.domain.pl', directory => 'https://127.0.0.1:1/dir', agree_tos => \1, next_key => \0, tls_alpn => \0,
	pairs => [{key_type => 'ecdsa-p256'}], names => ['mail.domain.pl'], contact => []);
for my $kind (qw(acme account info preflight check alert)) {
	failed("$kind: no job", qr/the daemon has gone/, $kind);
	failed("$kind: a job that is no JSON", qr/JSON/, $kind, message('{'));
	failed("$kind: another word", qr/the daemon said "kept" where "job" was due/, $kind, message({event => 'kept'}));
	failed("$kind: a frame of another type", qr/the daemon sent a frame of type 3 out of turn/, $kind, files('keys'));
}
for my $case (
	['no certificate', qr/certificate/, {certificate => undef}], ['no directory', qr/directory/, {directory => 7}],
	['no agreement', qr/agree_tos/, {agree_tos => 'yes'}], ['another challenge', qr/tls_alpn/, {tls_alpn => 'yes'}], ['no pairs', qr/pairs: there is none/, {pairs => []}],
	['pairs that are none', qr/pairs/, {pairs => 'one'}], ['a pair without a type', qr/pairs: key_type/, {pairs => [{}]}],
	['three pairs', qr/pairs/, {pairs => [({key_type => 'ecdsa-p256'}) x 3]}], ['a name that is none', qr/names/, {names => [7]}],
	['contacts that are none', qr/contact/, {contact => 'me'}],
) {
	my ($what, $pattern, $change) = @$case;
	failed("acme: $what", $pattern, 'acme', message({%job, %$change}), files('keys'));
}
failed('acme: an account key that is none', qr/account_key: a public key is not valid DER/, 'acme', message({%job, account_key => 'eA'}), files('keys'));
failed('acme: a pair\'s key that is none', qr/pairs: key: is no public key/, 'acme', message({%job, pairs => [{key_type => 'ecdsa-p256', key => '?'}]}), files('keys'));
failed('acme: files that are none', qr/files/, 'acme', message(\%job), frame(3, 'x'));

my %account = (event => 'job', op => 'upkeep', account_key => $public, account_url => 'https://127.0.0.1:1/account', directory => 'https://127.0.0.1:1/dir');
failed('account: nothing to do', qr/op/, 'account', message({%account, op => undef}), files('files'));
failed('account: no key', qr/the daemon sent no account key/, 'account', message({%account, account_key => undef}), files('files'));
failed('account: a next key that is none', qr/next_key/, 'account', message({%account, next_key => 'eA'}), files('files'));
failed('account: a certificate that is none', qr/PEM/, 'account', message(\%account), files('files', 'fullchain.pem' => 'x'));
my %alert = (event => 'job', type => 'webhook', target => 'http://127.0.0.1:1/');
failed('alert: no message', qr/there is no message, or nobody to get it/, 'alert', message(\%alert), files('alert'));
failed('alert: nobody', qr/there is no message, or nobody to get it/, 'alert', message({%alert, target => undef}), files('alert', message => '{}'));
failed('alert: a message that is none', qr/JSON/, 'alert', message(\%alert), files('alert', message => '{'));
my %preflight = (event => 'job', token => 'abc', authorization => 'abc.def', names => ['mail.domain.pl'], resolvers => []);
failed("preflight: no $_", qr/$_/, 'preflight', message({%preflight, $_ => undef})) for qw(token authorization names resolvers);
failed('preflight: a resolver that is none', qr/resolvers/, 'preflight', message({%preflight, resolvers => [7]}));
failed('preflight: a name that is none', qr/names/, 'preflight', message({%preflight, names => [7]}));
my %responder = (event => 'job', address => '127.0.0.1:' . Port::free_port());
my %add = (event => 'add', name => 'mail.domain.pl', digest => 'ab' x 32);
failed('responder: another word', qr/the daemon said "dance"/, 'responder', message({event => 'dance'}));
failed('responder: a job that is no JSON', qr/JSON/, 'responder', message('{'));
failed("responder: $_ is no address", qr/address|not an address with a port/, 'responder', message({%responder, address => $_})) for '', 'localhost';
failed('responder: an address that is not here', qr/cannot listen at 192\.0\.2\.1:1 for tls-alpn-01: /, 'responder', message({%responder, address => '192.0.2.1:1'}));
failed('responder: two jobs', qr/the daemon sent a second job/, 'responder', message(\%responder), message(\%responder));
failed('responder: a name before the job', qr/is not a SHA-256/, 'responder', message(\%add));
failed('responder: no name', qr/name/, 'responder', message(\%responder), message({%add, name => undef}));
failed('responder: a digest that is none', qr/is not a SHA-256/, 'responder', message(\%responder), message({%add, digest => 'xy' x 32}));
my $answering = worker('responder', message(\%responder), message(\%add), message({event => 'remove', name => 'mail.domain.pl'}));
is_deeply([map { $_->{event} } @{$answering->{said}}], ['listening', 'added'], 'responder: it listens, answers for a name, and no more');
is($answering->{end}, 0, '  and ends with the daemon');

# ---- what an authority does not offer ----

double('honest');
$account{directory} = $directory;
$account{ca_file} = "$top/ca.pem";
failed('account: a word that there is not', qr/the daemon asked for "dance"/, 'account', message({%account, op => 'dance'}), files('files'));
failed('account: a rollover without a key', qr/the daemon sent no new key/, 'account', message({%account, op => 'rollover'}), files('files'));
failed('account: a revocation of nothing', qr/the daemon sent no certificate|revokes nothing by ACME/, 'account', message({%account, op => 'revoke', reason => 1}),
	files('files'));

# ---- what a preflight finds ----

system('cp', '-a', '/etc', "$top/etc") == 0 && system('mount', '--bind', "$top/etc", '/etc') == 0 or die;
write_file('/etc/hosts', "127.0.0.1 localhost\n" . join '', map { "127.0.0.1 $_.domain.pl\n" } qw(good other error endless long far file));
write_file('/etc/nsswitch.conf', "hosts: files\n");
my $web = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => 80, ReuseAddr => 1) or die $!;
my $server = fork // die $!;
if (!$server) {
	local $SIG{PIPE} = 'IGNORE';
	while (my $client = $web->accept) {
		my $request = '';
		while ($client->sysread(my $part, 4096)) { $request .= $part; last if $request =~ /\r\n\r\n/ }
		my ($name) = $request =~ /^Host: (\w+)/m;
		my $answer = {
			good => "200 OK\r\n\r\nabc.def\n", other => "200 OK\r\n\r\n<h1>Welcome to nginx\x1b[31m</h1>", error => "503 No\r\n\r\n",
			endless => "302 Found\r\nLocation: http://endless.domain.pl/\r\n\r\n", long => "200 OK\r\n\r\n" . 'x' x 100_000,
			far => "302 Found\r\nLocation: http://far.domain.pl:8080/\r\n\r\n", file => "302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
		}->{$name // ''} // "404 Not Found\r\n\r\n";
		$client->syswrite("HTTP/1.0 $answer");
		close $client;
	}
	exit;
}
close $web;
my %wanted = (
	good => qr/^answers$/, other => qr/^answered 200 with something else: "<h1>Welcome to nginx[^\x1b]*"$/, error => qr/^answered 503$/,
	endless => qr/^more than \d+ redirects$/, long => qr/^answered 200 and far more than a challenge's answer$/,
	far => qr{^redirects to http://far\.domain\.pl:8080/, where no authority follows$}, file => qr{redirect|protocol}i,
	nowhere => qr/^the DNS gives no address: /,
);
my $w = worker('preflight', message({%preflight, names => [map { "$_.domain.pl" } sort keys %wanted]}));
is($w->{end}, 0, 'a preflight ends well, whatever it finds') or diag($w->{error});
my %found = map { ($_->{name} =~ /^(\w+)/)[0] => $_ } @{$w->{said}};
for my $name (sort keys %wanted) {
	like($found{$name}{text}, $wanted{$name}, "$name: what is there is said");
	is($found{$name}{ok} ? 1 : 0, $name eq 'good' ? 1 : 0, "$name: and judged");
}
kill 'TERM', $server;
waitpid $server, 0;
done_testing;
