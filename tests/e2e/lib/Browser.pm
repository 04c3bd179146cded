# A real browser, headless, which is spoken to by the DevTools protocol over a pipe: a page's Content-Security-Policy
# does not stop the questions of whoever holds the pipe, and no port is opened.
#
#   my $browser = Browser->new($directory);           starts chromium; its profile is kept below the directory
#   $browser->view($url, width => 390, height => 844, scheme => 'dark')   loads it so; returns whether it has loaded
#   $browser->ask('document.title')                    returns the value of an expression in the page
#   $browser->complaints                               returns what is on its console, policy violations among it
package Browser;
use strict;
use warnings;
use IO::Handle;
use JSON::PP;
use MIME::Base64;
use POSIX ();
use Time::HiRes qw(time);

sub new {
	my ($class, $top) = @_;
	pipe my $to_read, my $to_write or die $!;
	pipe my $from_read, my $from_write or die $!;
	my $pid = fork // die $!;
	if ($pid == 0) {
		# The descriptors are moved out of the way first, since one of them may be 3 or 4 itself.
		my ($in, $out) = (fileno $to_read, fileno $from_write);
		POSIX::dup2($in, 103);
		POSIX::dup2($out, 104);
		POSIX::dup2(103, 3);
		POSIX::dup2(104, 4);
		POSIX::close($_) for 103, 104;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$top/browser.log";
		open STDERR, '>&', \*STDOUT;
		exec 'chromium', '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--hide-scrollbars',
			'--disable-background-networking', '--disable-component-update', '--disable-sync', "--user-data-dir=$top/browser",
			'--remote-debugging-pipe', 'about:blank' or POSIX::_exit(127);
	}
	close $to_read;
	close $from_write;
	$to_write->autoflush(1);
	my $self = bless {pid => $pid, to => $to_write, from => $from_read, rest => '', id => 0, events => [], complaints => []}, $class;
	my $target = $self->call('Target.createTarget', {url => 'about:blank'})->{targetId};
	$self->{session} = $self->call('Target.attachToTarget', {targetId => $target, flatten => JSON::PP::true})->{sessionId};
	$self->call($_) for 'Page.enable', 'Runtime.enable', 'Log.enable';
	return $self;
}

sub DESTROY {
	my ($self) = @_;
	local ($?, $@);
	local $SIG{PIPE} = 'IGNORE';
	eval { delete $self->{session}; $self->call('Browser.close') };
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
}

# Returns one message of the browser, or nothing when none comes by the deadline.
sub next_message {
	my ($self, $deadline) = @_;
	my $end;
	while (($end = index $self->{rest}, "\0") < 0) {
		my $ready = '';
		vec($ready, fileno($self->{from}), 1) = 1;
		my $left = $deadline - time;
		return undef if $left <= 0 || !select($ready, undef, undef, $left);
		sysread($self->{from}, $self->{rest}, 65536, length $self->{rest}) or return undef;
	}
	my $message = decode_json(substr $self->{rest}, 0, $end);
	substr($self->{rest}, 0, $end + 1) = '';
	push @{$self->{complaints}}, $message->{params}{entry}{text} if ($message->{method} // '') eq 'Log.entryAdded';
	push @{$self->{events}}, $message->{method} if $message->{method};
	return $message;
}

sub call {
	my ($self, $method, $params) = @_;
	my $id = ++$self->{id};
	my $deadline = time + 30;
	my %message = (id => $id, method => $method, params => $params // {});
	$message{sessionId} = $self->{session} if $self->{session};
	print {$self->{to}} encode_json(\%message), "\0";
	while (my $message = $self->next_message($deadline)) {
		next if ($message->{id} // 0) != $id;
		die "$method: $message->{error}{message}\n" if $message->{error};
		return $message->{result};
	}
	die "$method: chromium has not answered\n";
}

sub view {
	my ($self, $url, %how) = @_;
	$self->call('Emulation.setDeviceMetricsOverride', {width => $how{width}, height => $how{height}, deviceScaleFactor => 1,
		mobile => $how{width} < 600 ? JSON::PP::true : JSON::PP::false});
	$self->call('Emulation.setEmulatedMedia', {features => [{name => 'prefers-color-scheme', value => $how{scheme}}]});
	$self->{events} = [];
	$self->{complaints} = [];
	$self->call('Page.navigate', {url => $url});
	my $deadline = time + 30;
	while (!grep { $_ eq 'Page.loadEventFired' } @{$self->{events}}) {
		$self->next_message($deadline) or return 0;
	}
	return 1;
}

sub ask {
	my ($self, $expression) = @_;
	my $result = $self->call('Runtime.evaluate', {expression => $expression, returnByValue => JSON::PP::true});
	die "$expression: $result->{exceptionDetails}{text}\n" if $result->{exceptionDetails};
	return $result->{result}{value};
}

# Takes a picture of the whole page, for a person who looks at it.
sub picture {
	my ($self, $file) = @_;
	my $data = $self->call('Page.captureScreenshot', {captureBeyondViewport => JSON::PP::true})->{data};
	open my $out, '>:raw', $file or die "$file: $!";
	print $out decode_base64($data);
	close $out or die "$file: $!";
}

sub complaints { @{$_[0]{complaints}} }

1;
