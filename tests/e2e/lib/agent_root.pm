# A node with certsync-agent-root and the double of its daemon, for stories about the root half.
package main;
use strict;
use warnings;
use Cwd qw(abs_path);
use Digest::SHA qw(sha256_hex);
use File::Copy qw(copy);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use IO::Socket::UNIX;
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(time sleep);

our $bin = abs_path($ENV{CERTSYNC_BIN} // 'build/bin');
our $tool = abs_path($ENV{CERTSYNC_ROOT_TOOL} // "$bin/../tests/root_tool");
our $top = tempdir('certsync-root.XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $top;
our $name = 'mail.domain.pl';
my @started;
END { local $?; kill 'KILL', $_ for @started }

# ---- certificates ----

sub write_file {
	my ($path, $text, $mode) = @_;
	open my $file, '>', $path or die "$path: $!";
	print $file $text;
	close $file or die "$path: $!";
	chmod $mode, $path if defined $mode;
}

sub read_file {
	my ($path) = @_;
	open my $file, '<:raw', $path or return '';
	local $/;
	return <$file> // '';
}

sub openssl {
	my @arguments = @_;
	system("openssl @arguments >>$top/openssl.log 2>&1") == 0 or die "openssl @arguments: " . read_file("$top/openssl.log");
}

openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=test CA'",
	"-keyout $top/ca.key -out $top/ca.pem");

# Writes a key, its certificate and the CA into one PEM, valid for `days`. The key is "rsa" or an elliptic curve.
sub pair {
	my ($file, %wish) = @_;
	my $key = $wish{rsa} ? '-newkey rsa:2048' : '-newkey ec -pkeyopt ec_paramgen_curve:P-256';
	my $names = $wish{names} // "DNS:$name";
	write_file("$top/ext", "subjectAltName=$names\nextendedKeyUsage=serverAuth\n");
	openssl("req $key -nodes -subj /CN=x -keyout $top/$file.key -out $top/$file.csr");
	openssl("x509 -req -in $top/$file.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial",
		'-days', $wish{days} // 20, "-extfile $top/ext -out $top/$file.crt");
	write_file("$top/$file.pem", join '', map { read_file("$top/$_") } "$file.key", "$file.crt");
	return "$top/$file.pem";
}

sub fingerprint {
	my ($path) = @_;
	my $der = `openssl x509 -in $path -outform der 2>>$top/openssl.log`;
	return sha256_hex($der);
}

# ---- a node ----

my $nodes = 0;

sub node {
	my (%wish) = @_;
	my $dir = "$top/node" . ++$nodes;
	make_path("$dir/$_") for qw(bin hooks etc own run control);
	copy("$bin/certsync-agent-root", "$dir/bin/") and copy($tool, "$dir/bin/certsync-agent") or die $!;
	chmod 0755, glob "$dir/bin/*";
	my $hook = <<"HOOK";
#!/bin/sh
echo "\$CERTSYNC_SERVICE \$1 \$CERTSYNC_REVISION \$CERTSYNC_DIR" >>$dir/hooks.log
if [ -e $dir/control/\$CERTSYNC_SERVICE.\$1 ]; then . $dir/control/\$CERTSYNC_SERVICE.\$1; fi
HOOK
	write_file("$dir/hooks/$_", $hook, 0755) for qw(one two);
	my $user = $< == 0 ? 'nobody' : getpwuid $<;
	my $group = getgrgid($< == 0 ? (getpwnam 'nobody')[3] : $();
	my $timeout = $wish{timeout} // '5s';
	write_file("$dir/agent.conf", <<"CONF");
hub = {"ssh://certsync-gate\@haproxy.domain.pl:22"}
directory = "$dir/etc"
state = "$dir/state"
root_state = "$dir/root"
run = "$dir/run"
hooks = "$dir/hooks"
user = "$user"
admin_group = "$group"
anchors = "$top/ca.pem"
certificate "$name" {
	allow = {"*.domain.pl"}
	service "one" {
		probe = {"127.0.0.1:25"}
		timeout = "$timeout"
		file "$dir/own/one.pem" { content = "combined" mode = "0640" }
	}
	service "two" { probe = {"127.0.0.1:993"} timeout = "$timeout" @{[$wish{two} // '']} }
}
CONF
	my $self = {dir => $dir, next => 1};
	my $line = `$dir/bin/certsync-agent-root identity -c $dir/agent.conf`;
	($self->{seal}) = $line =~ /^certsync-agent:1 ssh-ed25519 \S+ x25519:(\S+)\n$/ or die "identity: $line";
	chomp(my $signer = `$tool hub $dir/sign.key`);
	$self->{signer} = $signer;
	pin($self, 'hub') == 0 or die 'pin';
	start($self);
	return $self;
}

sub pin {
	my ($node, undef, @options) = @_;
	open my $pin, '|-', "$node->{dir}/bin/certsync-agent-root pin -c $node->{dir}/agent.conf @options >/dev/null 2>$node->{dir}/pin.log"
		or die $!;
	print $pin "certsync-hub:1 ssh://certsync-gate\@haproxy.domain.pl:22 sign=ed25519:$node->{signer} "
		. "host=SHA256:" . ('A' x 43) . "\n";
	close $pin;
	return $? >> 8;
}

sub launch {
	my ($node) = @_;
	my $pid = fork // die $!;
	if ($pid == 0) {
		open STDERR, '>>', "$node->{dir}/log" or die $!;
		$SIG{CHLD} = 'IGNORE' if $node->{ignore_chld};
		exec "$node->{dir}/bin/certsync-agent-root", '-c', "$node->{dir}/agent.conf" or die $!;
	}
	push @started, $pid;
	@$node{qw(pid ended)} = ($pid, 0);
}

sub has_ended {
	my ($node) = @_;
	$node->{ended} ||= waitpid($node->{pid}, WNOHANG) != 0;
	return $node->{ended};
}

sub start {
	my ($node) = @_;
	unlink "$node->{dir}/run/tool.sock";
	launch($node);
	wait_for(sub { connect_tool($node) }) or diag(read_file("$node->{dir}/log")), die 'certsync-agent-root does not answer';
}

sub stop {
	my ($node, $signal) = @_;
	my $until = time + 10 * ($ENV{CERTSYNC_PATIENCE} // 1);
	kill $signal, $node->{pid} unless has_ended($node);
	while (!has_ended($node)) {
		die "$signal does not end it" if time > $until;
		sleep 0.005;
	}
	my $status = $?;
	@started = grep { $_ != $node->{pid} } @started;
	return if $signal ne 'TERM' || $status == 0;
	fail("it ended with status $status");
	diag(read_file("$node->{dir}/log"));
}

sub restart { my ($node, $signal) = @_; stop($node, $signal // 'KILL'); start($node) }

sub connect_tool {
	my ($node) = @_;
	return $node->{socket} = IO::Socket::UNIX->new(Peer => "$node->{dir}/run/tool.sock");
}

sub wait_for {
	my ($what) = @_;
	for (my $until = time + 15 * ($ENV{CERTSYNC_PATIENCE} // 1); time < $until; sleep 0.01) {
		my $result = $what->();
		return $result if $result;
	}
	return;
}

# ---- agent/common/root_request.h, from the other side ----

our %op = (inventory => 1, stage => 2, test => 3, activate => 4, reload => 5, running => 6, commit => 7, undo => 8,
	hold => 9);

sub send_frame {
	my ($node, $type, $payload) = @_;
	$node->{socket}->syswrite(pack('N C', length($payload) + 1, $type) . $payload);
}

sub take { my ($socket, $len) = @_; my $data = ''; while (length $data < $len) { sysread($socket, $data, $len - length $data, length $data) or return } return $data }

sub revision { my ($epoch, $number) = @_; return "$epoch.$number" }

sub receive {
	my ($node) = @_;
	my $head = take($node->{socket}, 5) // return;
	my ($len, $type) = unpack 'N C', $head;
	my $rest = take($node->{socket}, $len - 1) // return;
	my %reply;
	(@reply{qw(op certificate)}, my ($epoch, $number), @reply{qw(ok permanent rolled_back step text output)}, my $count, $rest)
		= unpack 'C N/a N N C C C N/a N/a N/a C a*', $rest;
	$reply{revision} = revision($epoch, $number);
	for (1 .. $count) { (my $stopped, $rest) = unpack 'N/a a*', $rest; push @{$reply{stopped}}, $stopped }
	(@reply{qw(repaired instance)}, $count, $rest) = unpack 'Q> H32 C a*', $rest;
	for (1 .. $count) {
		my %i;
		my @r;
		# A content is its revision, its digest, its leaf, and its two dates.
		($i{certificate}, @r[0, 1], @i{qw(digest served_fingerprint not_before not_after)},
			@r[2, 3], @i{qw(staged_digest staged_fingerprint staged_not_before staged_not_after)},
			@r[4 .. 7], @i{qw(fingerprint second staged_second seconds held)}, $rest)
			= unpack 'N/a N2 H64 H64 Q> Q> N2 H64 H64 Q> Q> N4 H64 H64 H64 N N a*', $rest;
		@i{qw(served staged high_water pending)} = map { revision(@r[2 * $_, 2 * $_ + 1]) } 0 .. 3;
		$reply{inventory}{$i{certificate}} = \%i;
	}
	die 'bytes behind the reply' if length $rest;
	return \%reply;
}

sub ask {
	my ($node, $what, $revision, $timeout) = @_;
	my ($epoch, $number) = split /\./, $revision // '0.0';
	send_frame($node, 4, pack 'C N/a* N N N', $op{$what}, $what eq 'inventory' ? '' : $name, $epoch, $number, $timeout // 60);
	return receive($node);
}

sub bundle {
	my ($node, $revision, $pem, %wish) = @_;
	my ($epoch, $number) = split /\./, $revision;
	my $key = $wish{sign} // "$node->{dir}/sign.key";
	my $recipient = $wish{recipient} // $node->{seal};
	my $certificate = $wish{certificate} // $name;
	my $flags = $wish{flags} // 0;
	return scalar `$tool bundle $key $recipient $certificate $epoch $number $flags $pem`;
}

sub stage {
	my ($node, $revision, $pem, %wish) = @_;
	send_frame($node, 2, $wish{raw} // bundle($node, $revision, $pem, %wish));
	return receive($node);
}

sub inventory { my ($node) = @_; return ask($node, 'inventory')->{inventory}{$name} }

sub install {
	my ($node, $revision, $pem) = @_;
	for my $reply (stage($node, $revision, $pem), map { ask($node, $_, $revision) } qw(test activate reload commit)) {
		return $reply unless $reply->{ok};
	}
	return;
}

# Look at the disk: live() returns live/'s revision, serves() whether all files are wholly this PEM's.
sub live { my ($node) = @_; return (readlink("$node->{dir}/etc/live/$name") // '') =~ m{/([0-9.]+)$} ? $1 : undef }

sub serves {
	my ($node, $pem) = @_;
	my $want = fingerprint($pem);
	for my $file (map({ "$node->{dir}/etc/live/$name/$_.pem" } qw(cert fullchain combined haproxy)), "$node->{dir}/own/one.pem") {
		return "$file" unless fingerprint($file) eq $want;
	}
	return 'all';
}

sub control { my ($node, $hook, $code) = @_; my $path = "$node->{dir}/control/$hook"; defined $code ? write_file($path, "$code\n", 0644) : unlink $path }

sub hooks_run {
	my ($node) = @_;
	my $log = read_file("$node->{dir}/hooks.log");
	write_file("$node->{dir}/hooks.log", '');
	return join ' ', map { my @w = split; "$w[0]:$w[1]:$w[2]" } split /\n/, $log;
}

1;
