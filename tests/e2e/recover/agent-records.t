#!/usr/bin/perl
# The hub cannot read what it has of one agent: the record is no JSON, is cut short, is another kind of file, may not be
# read. Nobody's key leaves the authorized_keys of a real sshd for that, neither the agent's own nor another's; what else
# changes is written all the same; and the record is named until it can be read again.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP;
use Join;
use MIME::Base64;
use Test::More;

Separate->enter;
my $s = Join->new;
my $top = $s->top;
my $listen = '127.0.0.1:2222';
my $record = "$top/hub/records/agents/mail/agent.json";
my ($code, $said);

my (%identity, $made);

# Gives the agent keys by hand: those that it has already, or with $anew others. Its SSH key is $top/AGENT.
sub add {
	my ($agent, $anew) = @_;
	if ($anew) {
		unlink "$top/$agent", "$top/$agent.pub";
		system("ssh-keygen -q -t ed25519 -N '' -f $top/$agent") == 0 or die;
		my $public = join ' ', (split ' ', Story::read_file("$top/$agent.pub"))[0, 1];
		$identity{$agent} = "certsync-agent:1 $public x25519:" . encode_base64(sprintf('%032d', ++$made), '');
	}
	($code, $said) = $s->certsync('agent', 'add', $agent, '--key', "'$identity{$agent}'");
	return $code;
}

# Returns whether sshd lets this agent's key in, which is seen by the gate that it runs.
sub comes_in {
	my ($agent) = @_;
	my $before = length $s->log('sshd');
	system("timeout 20 ssh -F none -i $top/$agent -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no"
		. " -o UserKnownHostsFile=/dev/null -p 2222 certsync-gate\@127.0.0.1 true </dev/null >$top/ssh.out 2>&1");
	return $s->until("sshd's word", sub { substr($s->log('sshd'), $before) =~ /Accepted publickey|Connection (?:closed|reset) by authenticating/ })
		&& substr($s->log('sshd'), $before) =~ /Accepted publickey/;
}

sub broken {
	my ($mail) = grep { $_->{agent} eq 'mail' } @{decode_json(($s->certsync('agent', 'list', '--json'))[1])->{agents}};
	return $mail->{state} eq 'broken' ? $mail->{error} : '';
}

sub alerts { return ($s->certsync('alert', 'list'))[1] }

$s->hub_begins("certsync-gate\@$listen", qw(here mail backup1 web));
for my $agent (qw(mail backup1 web)) {
	is(add($agent, 1), 0, "$agent has keys") or diag($said);
}
$s->sshd_at('sshd', "$top/host", $listen);
my %lines = map { $_ => join "\n", $s->key_lines($_) } qw(mail backup1 web);
ok($lines{$_} ne '' && comes_in($_), "$_ comes in") for qw(mail backup1 web);
my $bytes = Story::read_file($record);

sub put_back {
	system("rm -rf $record");
	Story::write_file($record, $bytes, 0600);
	system("chown certsync-hub $record");
}

my %trouble = (
	'no JSON' => sub { Story::write_file($record, "{\n") },
	'empty' => sub { Story::write_file($record, '') },
	'cut short' => sub { Story::write_file($record, substr $bytes, 0, length($bytes) / 2) },
	'too long' => sub { Story::write_file($record, ' ' x 20000 . $bytes) },
	'another key' => sub { Story::write_file($record, $bytes =~ s/ssh-ed25519/ssh-x/r) },
	'a directory' => sub { unlink $record; mkdir $record or die },
	'a link to nowhere' => sub { unlink $record; symlink '/nowhere', $record or die },
	'not to be read' => sub { chown 0, 0, $record; chmod 0600, $record },
);
for my $what (sort keys %trouble) {
	subtest "the record is $what" => sub {
		my $before = length $s->log('hub');
		$trouble{$what}->();
		# What somebody else does has the file written anew.
		($code, $said) = $s->certsync('agent', 'remove', 'web');
		is($code, 0, "another agent is removed") or diag($said);
		is(join("\n", $s->key_lines('web')), '', 'at once its key is out');
		is(join("\n", $s->key_lines($_)), $lines{$_}, "$_ keeps its own") for qw(mail backup1);
		ok(comes_in('mail'), 'sshd lets the agent itself in');
		ok(!comes_in('web'), 'and the one that was removed no more');
		like(substr($s->log('hub'), $before), qr{event=store record=agents/mail/agent\.json error="[^"]+" text="until it can be read, its key stays in authorized_keys}, 'the log names the record');
		isnt(broken(), '', 'agent list does, with the reason');
		$s->hub_again;
		is(join("\n", $s->key_lines($_)), $lines{$_}, "$_ keeps it over a start of the hub") for qw(mail backup1);
		is(add('web', 1), 0, 'a new key for another agent is taken') or diag($said);
		ok(comes_in('web'), 'and comes in');
		put_back();
		# It is looked at again when the next change comes, or within a minute.
		is(add('backup1'), 0, 'a change comes') or diag($said);
		like($s->log('hub'), qr{event=store record=agents/mail/agent\.json text="it can be read again}, 'with the record back, that is told');
		is(broken(), '', 'agent list has it again');
		is(join("\n", $s->key_lines('mail')), $lines{mail}, 'and its line is the same');
	};
}

subtest 'an alert stands while it is so, and ends by itself' => sub {
	$trouble{'not to be read'}->();
	is(add('backup1'), 0, 'a change comes') or diag($said);
	ok($s->until('the alert', sub { alerts() =~ m{^WARNING +agents/mail/agent\.json: store\n.*cannot open .*Permission denied.*its key stays}m }, 60), 'it names the record and what is done') or diag(alerts());
	put_back();
	ok($s->until('the end', sub { alerts() !~ m{agents/mail} }, 60), 'nobody has to do anything but to put the record back') or diag(alerts());
};

subtest 'the administrator can take the key away all the same' => sub {
	for my $what ('a directory', 'no JSON') {
		$trouble{$what}->();
		($code, $said) = $s->certsync('agent', 'remove', 'mail');
		is($code, 0, "$what: the agent is removed") or diag($said);
		is(join("\n", $s->key_lines('mail')), '', "$what: its key is out");
		ok(!comes_in('mail'), "$what: and sshd lets it in no more");
		is(add('mail', 1), 0, "$what: and it can have new ones") or diag($said);
		ok(comes_in('mail'), "$what: by which it comes in");
	}
};
like(Story::read_file($Join::authorized), qr/^# the administrator's\n\Q$Join::administrator\E$/m, "the administrator's lines have stayed");
$s->ends_clean;
done_testing;
