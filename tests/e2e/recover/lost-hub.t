#!/usr/bin/perl
# The hub's node dies for good. Its last backup lies on another node, whose address the agents have as a second one: it
# is promoted as examples/LOST-HUB.md says, the agents come by themselves, nothing goes back, and the next renewal goes
# through. A hub whose signing key nobody has pinned gets nothing installed. There are two real sshd, each with a /run
# of its own behind it, and a real Pebble.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Pebble;
use Story;
use Test::More;

our %address = (a => '127.0.1.1', b => '127.0.1.2');

# A Fleet is a Story whose hub is on one of two nodes.
package Fleet;
our @ISA = ('Story');

sub at { my ($self, $node) = @_; return ('nsenter', '--mount', '--root', '--target', $self->{started}{"node-$node"}) }

sub certsync {
	my ($self, @words) = @_;
	my $output = `@{[$self->at($self->{hub})]} $Story::bin/certsync @words -c $self->{conf} 2>&1`;
	return ($? >> 8, $output);
}

# Has the hub take an agent's keys. Returns the line for the agent.
sub known {
	my ($self, $agent) = @_;
	my $add = "@{[$self->at($self->{hub})]} $Story::bin/certsync agent add $agent --key - -c $self->{conf}";
	return scalar `$Story::bin/certsync-agent identity -c $self->{top}/$agent/agent.conf | $add`;
}

sub enrol {
	my ($self, $agent) = @_;
	Story::write_file("$self->{top}/line", $self->known($agent));
	return system("$Story::bin/certsync-agent join -c $self->{top}/$agent/agent.conf <$self->{top}/line >$self->{top}/join.log 2>&1") == 0;
}

# Starts a node, which has a /run of its own.
sub node {
	my ($self, $node) = @_;
	$self->start("node-$node", qw(unshare --mount --propagation private sh -c),
		'mount -t tmpfs -o mode=755 none /run && mkdir /run/sshd && exec sleep infinity');
	return $self->until('node', sub { `@{[$self->at($node)]} ls /run` eq "sshd\n" });
}

sub sshd {
	my ($self, $node, $keys) = @_;
	my $top = $self->{top};
	Story::write_file("$top/sshd-$node.conf", <<"CONF");
ListenAddress $main::address{$node}:22
HostKey $top/host-$node
AuthorizedKeysFile $keys
StrictModes no
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
CONF
	$self->start("sshd-$node", $self->at($node), '/usr/sbin/sshd', '-D', '-e', '-f', "$top/sshd-$node.conf");
	return $self->until('sshd', sub { $self->log("sshd-$node") =~ /Server listening/ });
}

# Writes hub.conf for a node: its address, its state, what its sshd reads, and whose host keys agents are told.
sub configure {
	my ($self, $node, $directory, $certificates, @keys) = @_;
	my $top = $self->{top};
	$self->hub_conf(agents => ['mail', 'backup1'], certificates => $certificates);
	my $text = Story::read_file("$top/hub.conf");
	my %value = (ssh => qq("certsync-gate\@$main::address{$node}:22"), host_keys => '{' . join(', ', map { qq("$top/host-$_.pub") } @keys) . '}',
		state => qq("$directory/state"), run => '"/run/certsync-hub"', gate_user => '"certsync-gate"',
		authorized_keys => qq("$directory/gate/authorized_keys"));
	$text =~ s/^(\w+) = .*/"$1 = " . ($value{$1} \/\/ (split \/ = \/, $&)[1])/gme;
	File::Path::make_path("$directory/gate");
	Story::write_file("$directory/hub.conf", $text);
	return "$directory/hub.conf";
}

sub run_hub {
	my ($self, $node, $conf) = @_;
	@$self{qw(hub conf)} = ($node, $conf);
	$self->start('hub', $self->at($node), "$Story::bin/certsync-hub-root", '-c', $conf);
	return $self->until('hub', sub { ($self->certsync('status'))[0] != 4 });
}

package main;

Story->enter;
my $setup = join ' && ', 'ip link set lo up', 'mount -t tmpfs -o mode=755 none /mnt', 'mkdir /mnt/etc /mnt/work',
	'mount -t overlay -o lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/work none /etc',
	"install -m 755 $Story::bin/certsync-gate /mnt/certsync-gate", '{ ! getent passwd certsync-gate >/dev/null || userdel certsync-gate; }',
	q{useradd --system -p '*' -d / -s /mnt/certsync-gate certsync-gate};
system("($setup) >/dev/null 2>&1") == 0 or BAIL_OUT('no namespace can be prepared');

my $story = Fleet->new;
my $top = $story->top;
my $pebble = Pebble->new($story);
my $section = <<"CONF";
acme "test" {
	directory = "@{[$pebble->directory]}"
	agree_tos = true
	ca_file = "$top/api-ca.pem"
	limits = false
}
certificate "$Story::name" { acme = "test"  preflight = "off" }
CONF
system("ssh-keygen -q -t ed25519 -N '' -C '' -f $top/host-$_") == 0 or die for qw(a b);
my @agents = qw(mail backup1);
my ($exit, $text);

sub all_are { my ($state, $seconds) = @_; ok($story->until_state($_, $state, $seconds // 30), "$_ is $state") for @agents }
sub all_have { my ($fingerprint, $what) = @_; is($story->installed($_), $fingerprint, "$_ $what") for @agents }

# ---- a fleet, its backup, and what came after it ----

sub agents_know { my (@nodes) = @_; $story->agent_conf($_, hub => join '", "', map { "ssh://certsync-gate\@$address{$_}:22" } @nodes) for @agents }
agents_know('a');
ok($story->node($_), "node $_") for qw(a b impostor);
# For later there is somebody else's hub, which knows the agents' public keys.
my $impostor = $story->configure('b', "$top/impostor", "certificate \"$Story::name\" {}\n", 'b');
ok($story->run_hub('impostor', $impostor), 'an impostor knows the agents') or BAIL_OUT($story->log('hub'));
$story->known($_) for @agents;
$story->stop('hub');

my $first = $story->configure('a', "$top/a", $section, 'a');
mkdir "$top/b";
ok($story->sshd($_, "$top/$_/gate/authorized_keys"), "sshd on $_") for qw(a b);
ok($story->run_hub('a', $first), 'the hub runs on the first') or BAIL_OUT($story->log('hub'));
for (@agents) {
	ok($story->enrol($_), "$_ joins") or diag(Story::read_file("$top/join.log"));
	$story->start_agent($_);
}
all_are('unprobed', 60);

# ---- a second node is made ready ----

$story->configure('a', "$top/a", $section, qw(a b));
kill 'HUP', $story->{started}{hub};
for my $agent (@agents) {
	ok($story->until('told', sub { Story::read_file("$top/$agent/etc/pins/host_keys") =~ /(SHA256:.*\n){2}/ }, 30),
		"$agent is told the second node's host key");
}
agents_know('a', 'b');
kill 'HUP', $story->{started}{$_} for @agents;
ok($story->until('hubs', sub { my $agent = $_; $story->log($agent) =~ /event=started .*hubs=2/ }, 20), "$_ knows both addresses") for @agents;
all_are('unprobed');
system("tar -C $top/a -czpf $top/backup.tar.gz state state-keys gate hub.conf && tar -C $top/b -xzpf $top/backup.tar.gz") == 0 or die;
is(($story->certsync('renew'))[0], 0, 'after the last backup it is renewed');
my $served = $story->installed('mail');
all_have($served, 'has the renewed one');

# ---- gone for good ----

$story->stop($_, 'KILL') for 'hub', 'sshd-a', 'node-a';
system("rm -rf $top/a $top/host-a*") == 0 or die;
ok($story->until('the gate of b', sub { $story->log('sshd-b') =~ /Accepted publickey/ }), 'the agents knock at the second node by themselves');
unlike($story->log('sshd-b'), qr/Failed publickey|not allowed|Connection closed by authenticating/, 'and no login is refused there: nothing for fail2ban');

# ---- promoted ----

my $second = $story->configure('b', "$top/b", $section, 'b');
ok($story->run_hub('b', $second), 'the hub runs on the second') or BAIL_OUT($story->log('hub'));
all_are('ahead', 60);
($exit, $text) = $story->certsync('status');
like($text, qr/has had revision 1\.2, this hub wants 1\.1: .* `certsync recover`/, 'status says what to do');
all_have($served, 'keeps what it has');
my $orders = $pebble->orders;
($exit, $text) = $story->certsync('recover', '--archive', "$top/backup1/etc/archive");
is($exit, 0, "recover, with the second node's own archive") or diag($text, $story->log('hub'));
all_are('unprobed');
all_have($served, 'serves what it served, in a new epoch');
is($pebble->orders, $orders, 'no certificate was ordered for that');
is(($story->certsync('renew'))[0], 0, 'a renewal goes through, with the account of the backup') or diag($story->log('hub'));
is($pebble->orders, $orders + 1, 'the renewal takes one order');
my $renewed = $story->installed('mail');
isnt($renewed, $served, 'the renewal is another certificate');
all_have($renewed, 'has it');
all_are('unprobed');

# ---- an impostor ----

$story->stop('hub');
ok($story->run_hub('b', $impostor), 'a hub with another signing key, behind a host key that is pinned') or diag($story->log('hub'));
all_are('ahead', 60);
($exit, $text) = $story->certsync('recover', '--archive', "$top/backup1/etc/archive");
is($exit, 3, 'it begins an epoch that is above all that they have had');
like($story->log($_), qr/signature/, "$_ refuses what it sends, by its signature") for @agents;
all_have($renewed, 'keeps what it has');
$story->stop('hub');
ok($story->run_hub('b', $second), 'the right one is back');
all_are('unprobed', 60);

$story->ends_clean;
done_testing;
