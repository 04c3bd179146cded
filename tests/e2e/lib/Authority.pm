# A real Pebble in a network namespace of its own, where every port is free, 53 and 80 among them.
#
#   Authority::own_network()            runs the story again with loopback alone, and mounts of its own
#   my $ca = Authority->new($story)     makes the CA's own TLS certificate; its other files are beside the story's. A
#                                       second one has a name and a port: Authority->new($story, name => 'two', port => 24000)
#   $ca->start(dns => '127.0.0.3:53')   starts Pebble at 127.0.0.1:14000, asking this name server; http-01 goes to :80
#   $ca->root()                         returns its root, which is another one after each start
#   $ca->section(port => 14001)         returns the acme section of hub.conf for it, named "pebble"; there may be a proxy before it
#   $ca->orders()                       returns how many orders were asked for
#   $ca->told()                         returns how often a challenge was said to be ready
#   $ca->names(%addresses)              starts a name server at 127.0.0.1:8053 that knows these names, for `dns`
package Authority;
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IO::Socket::INET;
use Needs;
use Story;
use Test::More;

my $here = abs_path(dirname(__FILE__));

sub own_network {
	if (!$ENV{CERTSYNC_OWN_NETWORK}) {
		local $ENV{CERTSYNC_OWN_NETWORK} = 1;
		my @unshare = ('unshare', '--net', '--mount', $> ? '--map-root-user' : ());
		if (system(@unshare, 'true') != 0) {
			needs_root('a network namespace');
			die "no network namespace can be made: @unshare: $?\n";
		}
		exec @unshare, $^X, (map { "-I$_" } @INC), $0, @ARGV or die "unshare: $!";
	}
	# Some servers listen only at addresses that an interface has, so the interface gets them.
	my @commands = ('link set lo up', map { "address add 127.0.0.$_/8 dev lo" } 2, 3, 11, 12);
	system("ip $_") == 0 or die "ip $_ failed" for @commands;
}

sub new {
	my ($class, $story, %wish) = @_;
	my $top = $story->top;
	my $self = bless {story => $story, name => 'pebble', port => 14000, %wish}, $class;
	$story->openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=acme",
		"-addext subjectAltName=IP:127.0.0.1 -keyout $top/api.key -out $top/api.pem");
	Story::write_file("$top/$self->{name}.json", qq({"pebble": {"listenAddress": "127.0.0.1:$self->{port}",
		"managementListenAddress": "127.0.0.1:@{[$self->{port} + 1000]}", "certificate": "$top/api.pem", "privateKey": "$top/api.key",
		"httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": false}}));
	return $self;
}

sub start {
	my ($self, %wish) = @_;
	my ($story, $top, $name, $port) = ($self->{story}, $self->{story}->top, @$self{qw(name port)});
	my $management = $port + 1000;
	local @ENV{qw(PEBBLE_VA_NOSLEEP PEBBLE_WFE_NONCEREJECT PEBBLE_AUTHZREUSE)} = (1, 0, 0);
	$story->start($name, 'pebble', '-config', "$top/$name.json", '-dnsserver', $wish{dns});
	$story->until('Pebble', sub { IO::Socket::INET->new("127.0.0.1:$management") && IO::Socket::INET->new("127.0.0.1:$port") })
		or die 'Pebble does not come up: ' . $story->log($name);
	# From here on Pebble's root is the story's trust anchor.
	system("curl -s --cacert $top/api.pem -o $top/ca.pem https://127.0.0.1:$management/roots/0") == 0 or die 'no root of Pebble';
	$self->{root} = Story::read_file("$top/ca.pem");
}

sub root { return $_[0]{root} }
sub orders { return scalar(() = $_[0]{story}->log($_[0]{name}) =~ m{POST /order-plz}g) }

sub section {
	my ($self, %wish) = @_;
	my $top = $self->{story}->top;
	my $port = $wish{port} // $self->{port};
	return qq(acme "$self->{name}" { directory = "https://127.0.0.1:$port/dir" agree_tos = true ca_file = "$top/api.pem" }\n);
}

sub names {
	my ($self, %addresses) = @_;
	my $story = $self->{story};
	$story->start('names', "$here/../../../examples/demo/node/challtestsrv", '127.0.0.1:8053', '-management', '127.0.0.1:8055',
		'-defaultIPv4', '', '-defaultIPv6', '');
	$story->until('names', sub { IO::Socket::INET->new('127.0.0.1:8055') }) or die $story->log('names');
	for my $name (keys %addresses) {
		my $list = join ', ', map { "\"$_\"" } @{$addresses{$name}};
		system('curl', '-sf', '-d', "{\"host\": \"$name\", \"addresses\": [$list]}", 'http://127.0.0.1:8055/add-a') == 0
			or die "add-a $name";
	}
}

sub told { return scalar(() = $_[0]{story}->log($_[0]{name}) =~ m{POST /chalZ/}g) }

1;
