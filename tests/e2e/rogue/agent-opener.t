#!/usr/bin/perl
# The agent's root half decodes no key and no certificate: this holds its code against that, and looks in /proc at the
# child that does decode.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Needs;
use Test::More;
require "$FindBin::Bin/../lib/agent_root.pm";
our ($bin, $tool, $top, $name, %op);

# ---- the code ----

# Code decodes when its objects need one of these symbols. The digest of bytes, base64 and signatures over fixed offsets
# are not among them.
my $decodes = qr/^(?:X509|d2i_|i2d_|PEM_|ASN1_|PKCS8_|PKCS12_|CMS_|OSSL_DECODER|OSSL_STORE|EVP_PKCS8|GENERAL_NAME|chain_(?!hex$|unhex$)|verify_(?!revision$)|anchors_(?!system_|check_directory$|read)|bundle_(?!check$))/;
sub decoders {
	my ($object) = @_;
	return grep { $_ =~ $decodes } map { /\bU (\S+)/ ? $1 : () } `nm '$object'`;
}
my $objects = "$bin/../obj/agent/root";
my @objects = glob "$objects/*.o";
cmp_ok(scalar @objects, '>', 10, 'there are the objects of the root half');
for my $object (@objects) {
	my ($file) = $object =~ m{([^/]+)\.o$};
	my @found = decoders($object);
	if ($file eq 'opener_child') {
		cmp_ok(scalar @found, '>', 10, 'the child decodes: the pattern sees what does') or diag("@found");
	} else {
		is("@found", '', "$file decodes nothing");
	}
}

# ---- the process ----

sub children {
	my ($node) = @_;
	return split ' ', read_file("/proc/$node->{pid}/task/$node->{pid}/children");
}

sub openers { return grep { read_file("/proc/$_/comm") eq "certsync-opener\n" } children($_[0]) }

my $node = node();
my ($a, $b) = map { pair($_) } qw(a b);
ok(stage($node, '1.1', $a)->{ok}, 'a bundle is staged');
my ($opener, @more) = openers($node);
ok($opener, 'the child that has opened it is there') or BAIL_OUT(read_file("$node->{dir}/log"));
is("@more", '', 'the root half has one opener');
my $status = read_file("/proc/$opener/status");
if ($< == 0) {
	like($status, qr/^Uid:\t65532\t65532\t65532\t65532\nGid:\t65532\t65532\t65532\t65532$/m, 'a user of its own');
	like($status, qr/^Groups:\t *$/m, 'the opener has no groups');
	like($status, qr/^Cap$_:\t0+$/m, "no capability is $_") for qw(Inh Prm Eff Bnd Amb);
} else {
	note('not root: it stays who it is');
	like($status, qr/^Cap$_:\t0+$/m, "no capability is $_") for qw(Inh Prm Eff Amb);
}
like($status, qr/^NoNewPrivs:\t1$/m, 'the opener can gain no privileges');
like($status, qr/^Threads:\t1$/m, 'the opener has one thread');
my $limits = read_file("/proc/$opener/limits");
# Keys come into this memory. It may be locked only as far as the limit goes, since the process has no capability, and
# wants four times what is mapped.
my ($lockable) = $limits =~ /^Max locked memory +(\S+)/m;
my ($mapped) = $status =~ /^VmSize:\s+(\d+) kB$/m;
if ($lockable eq 'unlimited' || $lockable / 1024 >= 4 * $mapped) {
	like($status, qr/^VmLck:\s+[1-9]\d* kB$/m, 'its memory is locked');
} else {
	like($status, qr/^VmLck:\s+0 kB$/m, "its memory is not locked: $lockable bytes may be, too few");
}
like($limits, qr/^\Q$_\E +0 +0 /m, "$_: none") for 'Max open files', 'Max processes', 'Max file size', 'Max core file size';
SKIP: {
	needs_root('to look into what is not to be looked into', 2);
	opendir my $list, "/proc/$opener/fd" or die $!;
	my @fds = grep { /^\d/ } readdir $list;
	is("@fds", '0', 'the opener has one descriptor');
	like(readlink "/proc/$opener/fd/0", qr/^socket:/, 'its socket to the root half');
}

# ---- what becomes of it ----

ok(kill('KILL', $opener), 'the opener is killed');
ok(stage($node, '1.2', $b)->{ok}, 'and nothing is lost: another takes its place');
my ($next) = openers($node);
isnt($next, $opener, 'which is another process');
my $bundle = bundle($node, '1.3', $a);
my $reply = stage($node, '1.3', $a, raw => substr($bundle, 0, 400) . 'x' . substr $bundle, 401);
ok(!$reply->{ok}, 'what nobody has signed is refused');
like($reply->{text}, qr/^signature:/, 'by the root half itself');
is(join(' ', openers($node)), $next, 'and never reaches it');
stop($node, 'TERM');
ok(wait_for(sub { !-e "/proc/$next" }), 'it ends with the root half');
done_testing;
