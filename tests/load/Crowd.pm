# Many agents in one process: each has an SSH session of its own (the real certsync-link, sshd and gate), and this
# module speaks the agent's frames behind it. It opens no bundle and writes no file, so the agent's own work is not
# measured. Some of the agents mean ill.
#
#   my $c = Crowd->start(bin => …, keys => DIRECTORY, pins => FILE, user => …, log => FILE, honest => [NAMES],
#       hostile => {NAME => KIND}, as => {NAME => NAME whose key it has}, certificate => what they have,
#       patience => seconds that a late one takes, spread => seconds in which the hostile ones come)
#   $c->ask('honest')                  they come, one after the other, and so do the 'hostile'; 'calm': the
#                                     hostile leave; 'quit': all leave
#   $c->tell                           {connected, verified, lost => [honest that were cut off], came => {KIND => N},
#                                      cut => {KIND => N}}
package Crowd;
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use Fcntl;
use IO::Handle;
use IO::Poll qw(POLLIN POLLOUT POLLHUP POLLERR);
use JSON::PP;
use POSIX qw(:sys_wait_h);
use Socket;
use Time::HiRes qw(time sleep);

# How each kind lives: `hello` whether it introduces itself properly, `tick` what it does ten times a second from then
# on (without hello: from the start), `again` how many seconds pass until it comes back after it was cut off.
my %kinds = (
	silent => {},
	garbage => {tick => sub { once($_[0], sub { join '', map { chr int rand 256 } 1 .. 4096 }) }},
	huge => {tick => sub { once($_[0], sub { pack('NC', 0x7fffffff, 1) . 'x' x 65536 }) }},
	half => {hello => 1, tick => sub { once($_[0], sub { pack('NC', 60001, 1) . '{"type":' }) }},
	greeter => {hello => 1, tick => sub { $_[0]{out} .= hello($_[0]) x 50 }},
	fetcher => {hello => 1, tick => sub { fetch($_[0]) for 1 .. 20 }},
	deaf => {hello => 1, deaf => 1, tick => sub { $_[0]{out} .= frame({type => 'ping'}) x 10000 if length $_[0]{out} < 200000 }},
	liar => {hello => 1, tick => \&lie},
	returner => {hello => 1, again => 2, tick => sub { leave($_[0]) if $_[0]{welcome} }},
	late => {hello => 1, late => 1, ping => 1},
	clone => {hello => 1},
);
sub kinds { return sort keys %kinds }
my ($rest_min, $rest_more) = (10, 20); # seconds
my $deaf_for = 60;
my $at_once = 24; # how many honest ones connect at the same time

# ---- the side of the test ----

sub start {
	my ($class, %self) = @_;
	socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
	my $pid = fork // die $!;
	if ($pid == 0) {
		close $ours;
		open STDERR, '>>', "$self{log}.crowd" or die $!;
		my $ok = eval { live(\%self, $theirs); 1 };
		print STDERR $@ if !$ok;
		POSIX::_exit($ok ? 0 : 1);
	}
	close $theirs;
	$ours->autoflush(1);
	return bless {pid => $pid, peer => $ours}, $class;
}

sub ask { my ($self, $words) = @_; print {$self->{peer}} "$words\n" }

sub tell {
	my ($self) = @_;
	$self->ask('tell');
	my $line = readline $self->{peer};
	die "the crowd has ended\n" if !defined $line;
	return decode_json($line);
}

sub end {
	my ($self) = @_;
	$self->ask('quit');
	1 while defined readline $self->{peer};
	waitpid $self->{pid}, 0;
	return $?;
}

# ---- frames ----

sub frame { my $text = encode_json($_[0]); return pack('NC', length($text) + 1, 1) . $text }

sub hello {
	my ($m) = @_;
	return frame({type => 'hello', protocol => 2, version => 'load', instance => $m->{instance}, clock => int time, count => $m->{certificate} ? 1 : 0});
}

sub about {
	my ($m, $type, %more) = @_;
	my $o = $m->{order} // {};
	return frame({type => $type, certificate => $m->{certificate}, revision => $o->{revision} // '0.0', attempt => $o->{attempt} // 0, %more});
}

sub inventory {
	my ($m) = @_;
	return '' if !$m->{certificate};
	my $has = $m->{has} // {revision => '0.0', digest => '', fingerprint => ''};
	return frame({type => 'inventory', certificate => $m->{certificate}, attempt => 0, not_before => 0, not_after => 0, staged => '0.0',
		high_water => $has->{revision}, stopped => JSON::PP::false, held => JSON::PP::false, map { $_ => $has->{$_} } qw(revision digest fingerprint)});
}

sub once { my ($m, $what) = @_; $m->{out} .= $what->() if !$m->{once}++ }
sub fetch { my ($m) = @_; $m->{out} .= about($m, 'fetch') if $m->{order} && length $m->{out} < 65536 }

# Sends something that is well formed and not true.
sub lie {
	my ($m) = @_;
	return if length $m->{out} > 65536;
	my $nothing = {certificate => $m->{certificate}, revision => '7.' . int rand 1e9, attempt => int rand 1e9};
	my $probe = {endpoint => '192.0.2.1:443', service => 'none', served => JSON::PP::true, match => JSON::PP::true, stopped => JSON::PP::false,
		fingerprint => 'a' x 64, text => 'x' x 255, milliseconds => 1};
	my @lies = (
		{type => 'staged', milliseconds => 0}, {type => 'installed', milliseconds => 2147483647},
		{type => 'verified', milliseconds => 0, fingerprint => 'b' x 64, stopped => JSON::PP::true, probes => [($probe) x 64]},
		{type => 'failed', milliseconds => 0, step => 'commit', text => "\e[31m" x 100, output => 'y' x 8000, rolled_back => JSON::PP::true,
			permanent => JSON::PP::true},
		{type => 'probed', probes => [($probe) x 64], repaired => -5}, {type => 'pull'},
	);
	my $lie = $lies[rand @lies];
	# Half of the lies have the numbers that the hub gave out.
	my %subject = $m->{order} && rand() < 0.5 ? (%$nothing, %{$m->{order}}{qw(revision attempt)}) : %$nothing;
	$m->{out} .= frame({%subject, %$lie});
}

# ---- the side of the crowd ----

sub live {
	my ($self, $peer) = @_;
	$SIG{PIPE} = 'IGNORE';
	$peer->autoflush(1);
	fcntl $peer, F_SETFL, fcntl($peer, F_GETFL, 0) | O_NONBLOCK;
	my %wanted = (honest => 0, hostile => 0);
	my @all = map { {name => $_, kind => 'honest', due => 0} } @{$self->{honest}};
	push @all, map { {name => $_, kind => $self->{hostile}{$_}, due => 0} } sort keys %{$self->{hostile}};
	for (@all) {
		@$_{qw(key instance certificate)} = ($self->{as}{$_->{name}} // $_->{name}, md5_hex($_->{name}), $self->{certificate});
		$_->{group} = $_->{kind} eq 'honest' ? 'honest' : 'hostile';
	}
	my ($commands, $looked, %by_fd) = ('', 0);
	@$self{qw(lost came cut pending by_fd)} = ([], {}, {}, 0, \%by_fd);
	for (;;) {
		my $now = time;
		my $got = sysread $peer, $commands, 4096, length $commands;
		last if defined $got && $got == 0;
		while ($commands =~ s/^(\w+)\n//) {
			if ($1 eq 'tell') { print $peer encode_json(report($self, \@all)), "\n" }
			elsif ($1 eq 'quit') { leave_all($self, \@all); return }
			elsif ($1 eq 'calm') { $wanted{hostile} = 0; forget($self, $_) for grep { $_->{fd} && $_->{group} eq 'hostile' } @all }
			else { $wanted{$1} = 1; $_->{due} = $now + rand $self->{spread} for grep { $_->{group} eq $1 && $1 eq 'hostile' } @all }
		}
		if ($now - $looked >= 0.1) {
			$looked = $now;
			1 while waitpid(-1, WNOHANG) > 0;
			for my $m (@all) {
				$m->{fd} ? act($self, $m, $now) : $wanted{$m->{group}} && $now >= $m->{due} && come($self, $m);
			}
		}
		my @polled = map { $_ => ($by_fd{$_}{mute} ? 0 : POLLIN) | (length $by_fd{$_}{out} ? POLLOUT : 0) } keys %by_fd;
		if (!@polled) { sleep 0.05; next }
		IO::Poll::_poll(50, @polled);
		while (my ($fd, $events) = splice @polled, 0, 2) {
			my $m = $by_fd{$fd} or next;
			send_out($self, $m) if $events & POLLOUT;
			take($self, $m) if $m->{fd} && $events & (POLLIN | POLLHUP | POLLERR);
		}
	}
}

sub report {
	my ($self, $all) = @_;
	my @honest = grep { $_->{kind} eq 'honest' } @$all;
	return {connected => scalar(grep { $_->{welcome} } @honest), verified => scalar(grep { $_->{has} && $_->{welcome} } @honest), lost => $self->{lost},
		came => $self->{came}, cut => $self->{cut}, hostile => scalar(grep { $_->{fd} && $_->{kind} ne 'honest' } @$all)};
}

sub come {
	my ($self, $m) = @_;
	if ($m->{kind} eq 'honest') {
		return if $self->{pending} >= $at_once;
		$self->{pending}++;
		$m->{waits} = 1;
	}
	socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		my ($uid, $gid) = (getpwnam $self->{user})[2, 3];
		($), $() = ("$gid $gid", $gid);
		($<, $>) = ($uid, $uid);
		open STDIN, '<&', $theirs or POSIX::_exit(2);
		open STDOUT, '>', '/dev/null';
		exec "$self->{bin}/certsync-link", qw(--user certsync-gate --host 127.0.0.1 --port 22), '--key', "$self->{keys}/$m->{key}", '--pins',
			$self->{pins} or POSIX::_exit(2);
	}
	fcntl $ours, F_SETFL, fcntl($ours, F_GETFL, 0) | O_NONBLOCK;
	my $kind = $kinds{$m->{kind}} // {hello => 1, ping => 1};
	@$m{qw(socket fd in out began welcome once order mute)} = ($ours, fileno $ours, '', '', time, 0, 0, undef, 0);
	$m->{out} = hello($m) . inventory($m) if $kind->{hello};
	$self->{by_fd}{$m->{fd}} = $m;
	$self->{came}{$m->{kind}}++;
}

sub forget {
	my ($self, $m) = @_;
	delete $self->{by_fd}{$m->{fd}};
	close $m->{socket};
	$self->{pending}-- if delete $m->{waits};
	delete @$m{qw(socket fd in welcome later)};
	$m->{out} = '';
	$m->{due} = time + ($kinds{$m->{kind}}{again} // $rest_min + rand $rest_more);
}

# Leaves of its own accord.
sub leave { my ($m) = @_; shutdown $m->{socket}, 1 if !$m->{leaving}++ }

sub leave_all {
	my ($self, $all) = @_;
	forget($self, $_) for grep { $_->{fd} } @$all;
	1 while waitpid(-1, 0) > 0;
}

sub act {
	my ($self, $m, $now) = @_;
	my $kind = $kinds{$m->{kind}} // {ping => 1};
	$kind->{tick}->($m) if $kind->{tick} && ($m->{welcome} || !$kind->{hello});
	if ($kind->{ping} || $m->{kind} eq 'honest') {
		if ($m->{welcome} && $now - ($m->{pinged} // 0) > 70) {
			$m->{out} .= frame({type => 'ping'});
			$m->{pinged} = $now;
		}
	}
	if ($m->{later} && $now >= $m->{later}[0]) { $m->{out} .= (delete $m->{later})->[1] }
	# sshd keeps what was said to an agent that does not read, and its session, too, until it is read; only an agent
	# that reads again learns that it was cut off.
	$m->{mute} = $kind->{deaf} && $m->{welcome} && $now - $m->{began} < $deaf_for;
	send_out($self, $m) if length $m->{out};
}

sub send_out {
	my ($self, $m) = @_;
	my $put = syswrite $m->{socket}, $m->{out};
	substr $m->{out}, 0, $put, '' if $put;
	ended($self, $m) if !defined $put && !$!{EAGAIN};
}

sub ended {
	my ($self, $m) = @_;
	push @{$self->{lost}}, "$m->{name} " . ($m->{said} // '') if $m->{kind} eq 'honest' && $m->{welcome};
	$self->{cut}{$m->{kind}}++ if !delete $m->{leaving};
	forget($self, $m);
}

sub take {
	my ($self, $m) = @_;
	my $got = sysread $m->{socket}, $m->{in}, 65536, length $m->{in};
	return if !defined $got && $!{EAGAIN};
	return ended($self, $m) if !$got;
	while (length $m->{in} >= 5) {
		my ($length, $type) = unpack 'NC', $m->{in};
		last if length $m->{in} < 4 + $length;
		my $data = substr $m->{in}, 5, $length - 1;
		substr $m->{in}, 0, 4 + $length, '';
		$type == 1 ? hear($self, $m, decode_json($data)) : bundle($m);
	}
}

sub reply {
	my ($m, $after, @frames) = @_;
	my $late = $kinds{$m->{kind}} && $kinds{$m->{kind}}{late};
	$late && $after ? ($m->{later} = [time + $after, join '', @frames]) : ($m->{out} .= join '', @frames);
}

sub bundle { my ($m) = @_; reply($m, $m->{patience}, about($m, 'staged', milliseconds => 1)) if $m->{kind} =~ /^(honest|late)$/ }

sub hear {
	my ($self, $m, $said) = @_;
	my $type = $said->{type};
	if ($type eq 'welcome') {
		@$m{qw(welcome pinged)} = (1, time - rand 70);
		$self->{pending}-- if delete $m->{waits};
	}
	$m->{said} = "$said->{step}: $said->{text}" if $type eq 'error';
	$m->{order} = $said if $type eq 'offer';
	return if $m->{kind} !~ /^(honest|late)$/;
	$m->{patience} = $self->{patience};
	if ($type eq 'offer') {
		my $has = $m->{has} && $m->{has}{revision} eq $said->{revision};
		$m->{out} .= $has ? about($m, 'staged', milliseconds => 1) : about($m, 'fetch');
	} elsif ($type eq 'activate') {
		my %order = %{$m->{order}};
		$m->{has} = {map { $_ => $order{$_} } qw(revision digest fingerprint)};
		$m->{order}{attempt} = $said->{attempt};
		reply($m, $said->{timeout} - 2, about($m, 'installed', milliseconds => 1),
			about($m, 'verified', milliseconds => 1, fingerprint => $order{fingerprint}, stopped => JSON::PP::false, probes => []));
	}
}

1;
