# A Pebble that finds every challenge solved, for stories about what clients write; and the clients, each the real one
# from Debian, driven as an administrator would. Pebble's own root is put beside the story's CA in ca.pem, so that it is
# trusted.
#
#   my $pebble = Pebble->new($story);       runs until the story ends
#   $pebble->orders                         returns how many orders it has made
#   $pebble->certbot(LINEAGE, VERB, …)      obtains or renews, below $top/letsencrypt
package Pebble;
use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(time);

sub new {
	my ($class, $story) = @_;
	my $top = $story->top;
	my ($api, $management, $http, $tls, $dns) = map { Story::free_port() } 1 .. 5;
	my $self = bless {story => $story, top => $top, directory => "https://127.0.0.1:$api/dir"}, $class;
	Story::write_file("$top/ext", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n");
	$story->openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=pebble -keyout $top/api.key -out $top/api.csr");
	$story->openssl("x509 -req -in $top/api.csr -CA $top/ca.pem -CAkey $top/ca.key -CAcreateserial -days 20 -extfile $top/ext",
		"-out $top/api.pem");
	Story::write_file("$top/api-ca.pem", Story::read_file("$top/ca.pem"));
	Story::write_file("$top/pebble.json", qq({"pebble": {"listenAddress": "127.0.0.1:$api",
		"managementListenAddress": "127.0.0.1:$management", "certificate": "$top/api.pem",
		"privateKey": "$top/api.key", "httpPort": $http, "tlsPort": $tls, "ocspResponderURL": "",
		"externalAccountBindingRequired": false}}));
	local @ENV{qw(PEBBLE_VA_NOSLEEP PEBBLE_VA_ALWAYS_VALID PEBBLE_WFE_NONCEREJECT PEBBLE_AUTHZREUSE)} = (1, 1, 0, 0);
	$story->start('pebble', 'pebble', '-config', "$top/pebble.json", '-dnsserver', "127.0.0.1:$dns");
	$story->until('Pebble', sub {
		my $root = `curl -s --cacert $top/api-ca.pem https://127.0.0.1:$management/roots/0`;
		return 0 if $root !~ /BEGIN CERTIFICATE/;
		Story::write_file("$top/ca.pem", Story::read_file("$top/api-ca.pem") . $root);
		return 1;
	}) or die 'Pebble: ' . $story->log('pebble');
	return $self;
}

sub directory { $_[0]{directory} }

sub orders {
	my ($self) = @_;
	return scalar(() = $self->{story}->log('pebble') =~ /orders in the db/g);
}

sub run {
	my ($self, $what, @command) = @_;
	my $top = $self->{top};
	my $pid = fork // die $!;
	if ($pid == 0) {
		open STDIN, '<', '/dev/null' or die $!;
		open STDOUT, '>>', "$top/$what.log" or die $!;
		open STDERR, '>&', \*STDOUT or die $!;
		exec 'timeout', 300, @command or die "timeout: $!";
	}
	waitpid $pid, 0;
	die "@command: status $?\n" . Story::read_file("$top/$what.log") if $? != 0;
}

sub prepare_clients {
	my ($self) = @_;
	my $top = $self->{top};
	mkdir "$top/$_" for qw(dehydrated dehydrated/wellknown uacme);
	Story::write_file("$top/dehydrated/config", <<"CONF");
CA="$self->{directory}"
BASEDIR="$top/dehydrated"
WELLKNOWN="$top/dehydrated/wellknown"
CURL_OPTS="--cacert $top/api-ca.pem"
CONF
	Story::write_file("$top/dehydrated/domains.txt", '');
	$self->run('dehydrated', qw(dehydrated --register --accept-terms --config), "$top/dehydrated/config");
	Story::write_file("$top/uacme/hook", "#!/bin/sh\nexit 0\n", 0755);
	$self->_uacme('new');
}

# Runs all of them at once, and fails when one fails.
sub all {
	my ($self, @jobs) = @_;
	my $failed = 0;
	my @pids = map {
		my $pid = fork // die $!;
		if ($pid == 0) {
			eval { $_->(); 1 } or do { print STDERR $@; POSIX::_exit(1) };
			POSIX::_exit(0);
		}
		$pid;
	} @jobs;
	waitpid($_, 0), $failed ||= $? for @pids;
	die "a client has failed\n" if $failed;
}

# VERB is run or renew.
sub certbot {
	my ($self, $lineage, $verb, @options) = @_;
	my $top = $self->{top};
	local $ENV{REQUESTS_CA_BUNDLE} = "$top/api-ca.pem";
	my @words = $verb eq 'run' ? ('certonly', @options, qw(--manual --preferred-challenges http --manual-auth-hook true
		--agree-tos --register-unsafely-without-email --server), $self->{directory}) : ('renew', '--no-random-sleep-on-renew');
	$self->run('certbot', 'certbot', @words, qw(--force-renewal --non-interactive --cert-name), $lineage,
		map { ("--$_-dir", "$top/letsencrypt" . ($_ eq 'config' ? '' : "/$_")) } qw(config work logs));
}

# With --bare lego writes the certificate without its issuer.
sub lego {
	my ($self, $path, $verb, @domains) = @_;
	my $top = $self->{top};
	my $port = Story::free_port(); # nobody asks at this port
	my @bare = grep { $_ eq '--bare' } @domains;
	@domains = grep { $_ ne '--bare' } @domains;
	local $ENV{LEGO_CA_CERTIFICATES} = "$top/api-ca.pem";
	$self->run('lego', 'lego', '--server', $self->{directory}, '--accept-tos', '--email', 'hostmaster@domain.pl', '--path',
		"$top/$path", '--http', '--http.port', "127.0.0.1:$port", (map { ('--domains', $_) } @domains), $verb,
		$verb eq 'renew' ? ('--days', 99999, '--no-random-sleep') : (), @bare ? '--no-bundle' : ());
}

sub dehydrated {
	my ($self, $domain) = @_;
	my $config = "$self->{top}/dehydrated/config";
	$self->run('dehydrated', 'dehydrated', '--cron', '--force', '--domain', $domain, '--config', $config);
}

# uacme has no setting for a CA file, so the system's bundle is covered, in a mount namespace of its own.
sub _uacme {
	my ($self, @words) = @_;
	my $top = $self->{top};
	$self->run('uacme', 'unshare', '--mount', 'sh', '-euc',
		"mount --bind '$top/api-ca.pem' /etc/ssl/certs/ca-certificates.crt; exec \"\$\@\"", 'sh',
		'uacme', '-c', "$top/uacme", '-h', "$top/uacme/hook", '-a', $self->{directory}, '-y', '-f', @words);
}

sub uacme {
	my ($self, $domain) = @_;
	$self->_uacme('issue', $domain);
}

# Waits until the clock shows another second than that in which `path` was written.
sub second_after {
	my ($self, $path) = @_;
	my $written = (stat $path)[9];
	$self->{story}->until('the next second', sub { time >= $written + 1 });
}

1;
