#!/usr/bin/perl
# Configurations that administrators have, each judged by the real server: what every port and name served before
# `adopt --apply`, after it, and after a renewal. A row is a service, a configuration, and for each port, name and kind
# of key whether it is `new` in the end (`nothing-before`: it served nothing at first), the `same` as before, or served
# `nothing` at any time.
#
# CERTSYNC_ROWS=REGEX runs the rows whose service and title match; without it all of them, which takes twenty minutes.
use strict;
use warnings;
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../e2e/lib", "$FindBin::Bin/rows";
use Rows;
use Servers;
use Story;
use Test::More;

my $which = $ENV{CERTSYNC_ROWS} // '.';
my @all = Rows::all();
my @rows = grep { "$_->{service} $_->{title}" =~ /$which/ } @all;
# Exim and Courier conflict with Postfix and Dovecot, so what is missing is unpacked beside them.
Story->enter("$FindBin::Bin/../e2e/lib/with-packages", 'exim4-daemon-heavy / courier-imap courier-pop courier-mta / stunnel4 / mariadb-server / postgresql');
mkdir '/mnt/tmp', 0777 or die;
chmod 01777, '/mnt/tmp';
$ENV{TMPDIR} = '/mnt/tmp';
my $story = Story->new;
my $top = $story->top;
my $agent = "$Story::bin/certsync-agent";

# ---- the certificates that stand in the configurations, below /etc/old ----

my %names = (old => "DNS:$Story::name,DNS:imap.domain.pl", imap => 'DNS:imap.domain.pl', other => 'DNS:www.other.pl', third => 'DNS:www.third.pl',
	r0 => "DNS:$Story::name,DNS:imap.domain.pl");
my %print = map { $_ => $story->pair($_, names => $names{$_}) } sort keys %names;
# shop has the key of old, rsa the names of old and another kind of key.
Story::write_file("$top/ext", "subjectAltName=DNS:www.shop.pl\nextendedKeyUsage=serverAuth\n");
$story->openssl("req -new -key $top/old.key -subj /CN=x -out $top/shop.csr");
$story->openssl("x509 -req -in $top/shop.csr -CA $top/ca.pem -CAkey $top/ca.key -days 20 -extfile $top/ext -out $top/shop.crt");
copy("$top/old.key", "$top/shop.key") or die;
Story::write_file("$top/ext", "subjectAltName=$names{old}\nextendedKeyUsage=serverAuth\n");
$story->openssl("req -newkey rsa:2048 -nodes -subj /CN=x -keyout $top/rsa.key -out $top/rsa.csr");
$story->openssl("x509 -req -in $top/rsa.csr -CA $top/ca.pem -CAkey $top/ca.key -days 20 -extfile $top/ext -out $top/rsa.crt");
$print{$_} = $story->fingerprint("$top/$_.crt") for qw(shop rsa);
make_path('/etc/old');
for (qw(old imap other third shop rsa)) {
	Story::write_file("/etc/old/$_.pem", Story::read_file("$top/$_.key") . Story::read_file("$top/$_.crt"), 0600);
	Story::write_file("/etc/old/$_.crt", Story::read_file("$top/$_.crt"), 0644);
	Story::write_file("/etc/old/$_.key", Story::read_file("$top/$_.key"), 0600);
}

# ---- the node ----

note(scalar(@rows) . ' of ' . @all . ' configurations');
ok($story->hub, 'a hub starts') or BAIL_OUT($story->log('hub'));
my $dir = $story->agent_conf('here');
copy($_, "$dir/hooks/") or die for glob "$Story::bin/hooks/*";
chmod 0755, glob "$dir/hooks/*";
$story->enrol('here') or BAIL_OUT(Story::read_file("$top/join.log"));
$story->run("ip addr add $_/32 dev lo") for qw(192.0.2.10 192.0.2.11);
Servers::prepare($story);
Servers::prepare_data($story, map { $_->{service} } @rows);

sub put_files {
	my ($row) = @_;
	my $service = $row->{service};
	Servers::clean($service);
	for (sort keys %{$row->{files}}) {
		my ($name, $text) = ($_, $row->{files}{$_});
		my $path = $name =~ m{^/} ? $name : Servers::place($service) . "/$name";
		make_path($path =~ s{/[^/]*$}{}r);
		unlink $path;
		if (ref $text) { symlink $$text, $path or die "$path: $!" } else { Story::write_file($path, $text, $name =~ /sni/ ? 0600 : 0644) }
	}
	$story->run($_) for @{$row->{run} // []};
}

# ---- what is seen; an expectation is like "8445 www.other.pl rsa same" ----

my %talk = (25 => 'smtp', 587 => 'smtp', 2525 => 'smtp', 143 => 'imap', 110 => 'pop3', 3306 => 'mysql', 3307 => 'mysql', 5432 => 'postgres', 5433 => 'postgres');

sub look {
	my ($expected) = @_;
	my ($where, $name, $kind) = @$expected;
	my ($port) = $where =~ /(\d+)$/;
	return $story->served($where, sni => $name, starttls => $talk{$port}, $kind eq 'any' ? () : (key => $kind));
}

sub expectations {
	my ($row) = @_;
	return map { my @w = split; splice @w, 2, 0, 'any' if @w == 3; [@w] } @{$row->{at}};
}

# Returns what is not as it should be: `wanted` says for an expectation which fingerprint.
sub wrong {
	my ($row, $wanted) = @_;
	return join '; ', grep { $_ ne '' } map {
		my ($got, $must) = (look($_), $wanted->($_));
		$got eq $must ? '' : "@$_: " . ((grep { $print{$_} eq $got } sort keys %print)[0] // "'$got'");
	} expectations($row);
}

my $installed = 'r0';
Story::import($story, 'r0');

sub renew {
	my $next = 'r' . (1 + substr $installed, 1);
	$print{$next} = $story->pair($next, names => $names{r0});
	my (undef, $text) = Story::import($story, $next);
	$installed = $next;
	return $story->until('verified', sub { $story->installed('here') eq $print{$next} && ($story->state_of('here')->{state} // '') eq 'unprobed' }, 60)
		|| do { diag($text, ($story->certsync('status'))[1], $story->log('here') =~ s/.*(?=(?:.*\n){12}\z)//sr); 0 };
}

# Each service has an agent.conf of its own, so that a renewal runs its hook alone, and what adopt added to it for one
# row is not there for the next.
my ($known, $written) = ('', '');

# The agent keeps what adopt has told it of the row before, until it has ended.
sub stop_agent {
	my ($row) = @_;
	my $wanted = $row->{services} // "service \"$row->{service}\" { probe = none }";
	return if $known eq $wanted && Story::read_file("$dir/agent.conf") eq $written && !$row->{services};
	$story->stop('here') if $known;
	$known = '';
}

sub start_agent {
	my ($row) = @_;
	my $wanted = $row->{services} // "service \"$row->{service}\" { probe = none }";
	return if $known;
	$story->agent_conf('here', services => $wanted);
	# This machine may be busy.
	Story::write_file("$dir/agent.conf", Story::read_file("$dir/agent.conf") =~ s/probe_timeout = "5s"/probe_timeout = "60s"/r);
	$written = Story::read_file("$dir/agent.conf");
	$story->start_agent('here');
	$story->until('files', sub { $story->installed('here') eq $print{$installed} }, 90) or BAIL_OUT($story->log('here'));
	$story->until('settled', sub { my $s = $story->state_of('here'); ($s->{state} // '') eq 'unprobed' || ($s->{stopped} // 0) }, 90) or BAIL_OUT($story->log('here'));
	my @files = $wanted =~ /file "([^"]+)"/g;
	$story->until('copies', sub { !grep { !-s } @files }, 60) or BAIL_OUT($story->log('here'));
	$known = $wanted;
}

sub judge {
	my ($row) = @_;
	my $what = "$row->{service}: $row->{title}";
	my (%before, $text);
	stop_agent($row);
	put_files($row);
	start_agent($row);
	Servers::start($story, $row);
	my $all = sub { return !grep { my $e = $_; $e->[3] =~ /^nothing/ ? 0 : ($before{"@$e"} = look($e)) eq '' } expectations($row) };
	if (!$story->until('served', $all, 40)) {
		fail("$what: the server runs");
		diag(join "\n", map { "@$_: " . ($before{"@$_"} // '') } expectations($row));
		diag(Story::read_file($_)) for glob("$top/$row->{service}*.log /var/log/nginx/error.log /var/log/apache2/error.log /var/log/dovecot.log /var/log/exim4/*log");
		return;
	}
	$text = `timeout 300 $agent adopt $row->{words} --apply -c $dir/agent.conf 2>&1`;
	is($? >> 8, $row->{exit} // 0, "$what: adopt --apply") or diag($text);
	like($text, $row->{told}, "$what: it tells") if $row->{told};
	my $after = sub { my ($e) = @_; $e->[3] =~ /^new|before$/ ? $print{$installed} : $e->[3] eq 'same' ? $before{"@$e"} : '' };
	is(wrong($row, $after), '', "$what: adopted") or diag($text);
	return like(`$dir/hooks/$row->{service} test 2>&1`, $row->{refused}, "$what: the hook refuses it") if $row->{refused};
	ok(renew(), "$what: a renewal is verified");
	my $left = '';
	$story->until('renewed', sub { ($left = wrong($row, $after)) eq '' }, 10);
	is($left, '', "$what: renewed");
}

for my $row (@rows) {
	$row->{words} //= "--service $row->{service}";
	judge($row);
	Servers::stop($story, $row);
	$story->run($_) for @{$row->{after} // []};
}
$story->ends_clean;
done_testing();
