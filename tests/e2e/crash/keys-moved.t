#!/usr/bin/perl
# A store from before there was a certsync-keys has its private keys in the daemon's directory. The next start moves
# them, whole. When the node goes down at any call of it, no key is lost, and the start after that finishes the move.
use strict;
use warnings;
use Cwd qw(abs_path);
use Digest::SHA qw(sha256_hex);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use Keys;
use POSIX qw(WNOHANG);
use Story;
use Test::More;

my $tools = abs_path("$Story::bin/../tests/crash");
my $story = Story->new;
my ($top, $name) = ($story->top, $Story::name);
my ($hub, $keys) = ("$top/hub", "$top/hub-keys");

sub pem { my ($what) = @_; $story->openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $top/$what.pem"); return Story::read_file("$top/$what.pem") }
sub id_of { my ($path) = @_; return sha256_hex(scalar `openssl pkey -in $path -pubout -outform der 2>>$top/openssl.log`) }

# ---- a store as it was ----

$story->pair($_, days => 20 + length) for qw(first second);
$story->hub or BAIL_OUT($story->log('hub'));
for my $file (qw(first second)) {
	$story->import($file);
}
$story->stop('hub');
my %old; # maps a path below the store to its bytes
for my $revision (qw(1.1 1.2)) {
	$old{"certificates/$name/$revision/privkey.pem"} = key_of_chain($hub, "$hub/certificates/$name/$revision/fullchain.pem");
}
$old{'keys/sign.key'} = Story::read_file("$keys/sign.key");
$old{'records/acme/one/account.key'} = pem('account');
$old{'records/acme-next/one/account.key'} = pem('next-account');
$old{"records/orders/$name/privkey.pem"} = pem('order');
$old{"records/nextkeys/$name/privkey.pem"} = pem('made');
$old{"records/nextkeys/$name/privkey-2.pem"} = pem('made-2');
$old{"certificates/$name/.unfinished-1.3/privkey.pem"} = pem('unfinished');
is(length $old{"certificates/$name/1.2/privkey.pem"} > 100, 1, 'the keys of both revisions are there to be put back');

sub make_old {
	remove_tree($keys);
	unlink "$hub/keys-moved";
	for my $path (keys %old) {
		make_path(("$hub/$path" =~ s{/[^/]+$}{}r), {mode => 0700});
		Story::write_file("$hub/$path", $old{$path}, 0600);
		my $public = $path =~ s/privkey/key/r =~ s/account\.key/account.pub/r =~ s/\.pem$/.pub/r;
		unlink "$hub/$public" if $public ne $path;
	}
	# somebody may have put it there
	Story::write_file("$hub/certificates/$name/1.1/privkey-2.pem", "no key at all\n", 0600);
	symlink '/etc/shadow', "$hub/records/acme/link" or $!{EEXIST} or die $!;
}

# Returns where a key is found, by its bytes: whole in the old place, under the name that it gets before it is
# overwritten, or with certsync-keys.
sub kept {
	my ($path) = @_;
	my ($directory, $file) = "$hub/$path" =~ m{^(.*)/([^/]+)$};
	return 1 if grep { Story::read_file($_) eq $old{$path} } "$directory/$file", "$directory/.certsync-gone-$file";
	return Story::read_file("$keys/sign.key") eq $old{$path} if $path eq 'keys/sign.key';
	Story::write_file("$top/looked-for.pem", $old{$path});
	my $id = id_of("$top/looked-for.pem");
	return scalar grep { -e "$keys/$_/$id.pem" && id_of("$keys/$_/$id.pem") eq $id } qw(leaf pending account);
}

sub up { return $story->until('hub', sub { ($story->certsync('status'))[0] =~ /^[03]$/ }) }

sub is_moved {
	my ($what) = @_;
	my @left = grep { -e "$hub/$_" } sort keys %old;
	push @left, split /\n/, `find $hub -name '.certsync-*' -o -name 'privkey*' -o -name '*.key'; grep -rl 'PRIVATE KEY' $hub`;
	my @lost = grep { !kept($_) } sort keys %old;
	my @wide = grep { (stat)[2] & 077 } glob("$keys $keys/* $keys/*/*");
	my %named = ('acme/one/account.pub' => 'records/acme/one/account.key', 'acme-next/one/account.pub' => 'records/acme-next/one/account.key',
		"orders/$name/key.pub" => "records/orders/$name/privkey.pem", "nextkeys/$name/key.pub" => "records/nextkeys/$name/privkey.pem",
		"nextkeys/$name/key-2.pub" => "records/nextkeys/$name/privkey-2.pem");
	my @named;
	for my $record (sort keys %named) {
		Story::write_file("$top/looked-for.pem", $old{$named{$record}});
		my $id = id_of("$top/looked-for.pem");
		push @named, $record if index(key_path_of_record($hub, $record), $id) < 0;
	}
	my $strange = sha256_hex("no key at all\n");
	return "left: @left" if @left;
	return "lost: @lost" if @lost;
	return "others can read: @wide" if @wide;
	return "records that do not name their keys: @named" if @named;
	return 'what was no key is lost' if Story::read_file("$keys/unread/$strange.pem") ne "no key at all\n";
	return '';
}

make_old();
$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
ok(up(), 'the hub comes up with it') or diag($story->log('hub'));
is(is_moved(), '', 'every key is where only certsync-keys can read it, and nowhere else');
like($story->log('hub'), qr/event=private-keys moved=10 to="\Q$keys\E"/, 'the log says so');
my ($exit, $text) = $story->certsync('rollback', $name);
like($text, qr/revision 1\.\d/, 'an old revision is as good as before') or diag($text);
$story->stop('hub');

# A signing key that is planted later is not taken for the one that agents trust.
Story::write_file("$hub/keys/sign.key", 'x' x 32, 0600);
unlink "$hub/keys-moved";
$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
ok($story->until('refusal', sub { $story->log('hub') =~ /it is another signing key than the one that is used/ }), 'another signing key is refused, and named');
is(Story::read_file("$keys/sign.key"), $old{'keys/sign.key'}, 'and the one that is used stays');
unlink "$hub/keys/sign.key";
ok(up(), 'without it the hub starts');
$story->stop('hub');

# ---- the node goes down at any call of it ----

sub traced {
	my ($program, $at) = @_;
	unlink "$top/count";
	system('sh', '-c', ': >"$0"', "$top/hub.log");
	$story->start('hub', "$tools/trace_tool", '-a', '-p', $program, '-c', "$top/count", 'kill', $at, '--',
		"$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
	my $down = 0;
	$story->until('the end of it', sub { ($down = waitpid($story->{started}{hub}, WNOHANG)) || up_now() }, 60);
	$down ? delete $story->{started}{hub} : $story->stop('hub');
	return $down;
}
sub up_now { return ($story->certsync('status'))[0] =~ /^[03]$/ }

my $points = $ENV{CERTSYNC_POINTS} // 12;
for my $program (qw(certsync-hub-root certsync-keys)) {
	make_old();
	ok(!traced($program, 1 << 30), "$program: not killed, it comes up");
	my ($calls) = Story::read_file("$top/count") =~ /^(\d+)/;
	cmp_ok($calls // 0, '>', 100, "  after many calls ($calls)");
	my (@wrong, $killed);
	for my $i (1 .. $points) {
		my $at = int(1 + ($calls - 1) * $i / ($points + 1));
		make_old();
		$killed += !!traced($program, $at);
		push @wrong, map { "call $at: $_ is nowhere" } grep { !kept($_) } sort keys %old;
		$story->start('hub', "$Story::bin/certsync-hub-root", '-c', "$top/hub.conf");
		push @wrong, "call $at: it does not come up again" if !up();
		my $moved = is_moved();
		push @wrong, "call $at: $moved" if $moved;
		$story->stop('hub');
	}
	is_deeply(\@wrong, [], "$program: wherever it goes down, no key is lost, and the next start finishes it");
	cmp_ok($killed, '>', $points / 2, "  $killed times");
}
done_testing;
