#!/usr/bin/perl
# What certsync needs of others is in the oldest versions that it is promised for: those of Oracle Linux 9 and Ubuntu 22.04, whichever is older.
# Neither is here, so this looks at what is used.
#
#   Functions: for each that a program takes from a library, Debian's symbols file of that library has the version in which it came.
#   Constants of libcurl, libssh and ldns, which leave no trace in a program: those in the sources are among the names below, which were
#   seen in libcurl 7.74, libssh 0.9.8 and ldns 1.7.1 (Debian 11), with which the sources compile. Those of OpenSSL are the compiler's
#   business on Debian 12, which has 3.0; those of libevent and cJSON have not changed since.
#   Units: each directive is among those of systemd 247 (Debian 11), so an older systemd has nothing to warn of and to pass over.
#   HAProxy: each directive in what is to be copied and each command of the hook is among the words below, all of which HAProxy 2.2 takes.
#
# Whoever uses something new finds here what it costs: look up since when it is there, and either it is below the floor and gets its
# name here, or an older way is taken.
# Not with a sanitizer: the sanitizer's own functions would be looked at.
# Not for coverage: the counters' own functions would be looked at.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find;
use Test::More;

my $root = abs_path(dirname(__FILE__) . '/../../..');
my $bin = $ENV{CERTSYNC_BIN} // "$root/build/bin";
$ENV{LC_ALL} = 'C';

# The oldest version, and whose it is.
my %floor = (
	'libc.so.6' => ['2.34', 'Oracle Linux 9'],
	'libcrypto.so.3' => ['3.0.1', 'Oracle Linux 9.0'],
	'libssl.so.3' => ['3.0.1', 'Oracle Linux 9.0'],
	'libssh.so.4' => ['0.9.6', 'Ubuntu 22.04'],
	'libcurl.so.4' => ['7.76.1', 'Oracle Linux 9'],
	'libevent-2.1.so.7' => ['2.1.12', 'both'],
	'libldns.so.3' => ['1.7.1', 'both'],
	'libcjson.so.1' => ['1.7.14', 'EPEL 9'],
	'libinotifytools.so.0' => ['3.22.1', 'both'],
);
# Taken only by a compiler whose library has it; the sources have an older way beside it, behind the version.
my %instead = (ssh_channel_get_exit_state => ['agent/link/main.c', qr/^#if LIBSSH_VERSION_INT >= SSH_VERSION_INT\(0, 11, 0\)\n.*?^#else\n/ms]);
my %words = (curl => [], ssh => [], ldns => [], systemd => [], haproxy => [], commands => []);
my $list;
while (<DATA>) {
	$list = $1 if s/^(\w+)://;
	push @{$words{$list}}, /\w[\w -]*/g;
}

sub lines { open my $out, '-|', @_ or die "$_[0]: $!"; my @lines = <$out>; close $out or die "@_: $?"; return @lines }
sub text { open my $in, '<', $_[0] or die "$_[0]: $!"; local $/; return scalar <$in> }
sub newer {
	my @left = split /\./, $_[0];
	my @right = split /\./, $_[1];
	while (@left && @right) {
		my ($l, $r) = (shift @left, shift @right);
		return $l > $r if $l != $r;
	}
	return @left > 0;
}

# ---- functions ----

# Symbols files: "libX.so.N package …", then " name@VERSION first-version". An upstream version there may end in "~" or have Debian's part.
my %since;
for my $file (glob '/var/lib/dpkg/info/*.symbols') {
	my $library;
	for (split /\n/, text($file)) {
		$library = $1 if /^(\S+\.so\S*) /;
		$since{$library}{$1} //= $2 if /^ (?:\([^)]*\))?"?([^\s"]+@[^\s"]+)"? (\S+)/ && exists $floor{$library // ''};
	}
}
for (sort keys %floor) { ok(exists $since{$_}, "$_ has a symbols file here, by which is looked") }

my (@programs, %judged);
find({no_chdir => 1, wanted => sub { push @programs, $_ if -f && !-l && text($_) =~ /^\x7fELF/ }}, $bin);
cmp_ok(scalar @programs, '>=', 10, 'the programs are there');

# What a header of a newer C library makes of a function: strtol becomes __isoc23_strtol, and the checked form of one comes after it.
sub plain { return $_[0] =~ s/^__isoc\d+_//r =~ s/^__(\w+)_chk$/$1/r }
sub judge {
	my ($library, $name, $version) = @_;
	return 1 if exists $judged{$library}{$name};
	my $known = $since{$library};
	my ($found) = grep { exists $known->{$_} } "$name\@$version", "$name\@Base" or return;
	$found = $known->{$found};
	if (plain($name) ne $name) {
		my @all = grep { /^\Q${\plain($name)}\E@/ } keys %$known;
		$found = $known->{$all[0]} if @all;
	}
	my $upstream = $found =~ s/[-~].*//r;
	my $instead = $instead{$name};
	$found = '' if $instead && (text("$root/$instead->[0]") =~ $instead->[1])[0];
	$judged{$library}{$name} = $found && newer($upstream, $floor{$library}[0]) ? "$name came with $upstream" : '';
	return 1;
}
for my $program (@programs) {
	my @needed = map { /\(NEEDED\).*\[(.*)\]/ ? $1 : () } lines('readelf', '-W', '-d', $program);
	is_deeply([grep { !exists $floor{$_} && !/^ld-linux/ } @needed], [], substr($program, 1 + length $bin) . ': each library that it needs has a floor');
	for (lines('readelf', '-W', '--dyn-syms', $program)) {
		my ($bind, $name, $version) = /\s(GLOBAL|WEAK)\s+\S+\s+UND\s+([^\s@]+)(?:@+(\S+))?/ or next;
		next if $bind eq 'WEAK' && $name =~ /^(?:__gmon_start__|_ITM_)/;
		(grep { judge($_, $name, $version // 'Base') } @needed) or fail("$name of $program is in no symbols file");
	}
}
for my $library (sort keys %floor) {
	my $found = $judged{$library} // {};
	cmp_ok(scalar keys %$found, '>', 0, "$library: functions of it are used");
	is_deeply([sort grep { length } values %$found], [], "  all are in $floor{$library}[0], of $floor{$library}[1]");
}

# ---- constants ----

# Names of our own begin with SSH_, too, where libssh is not spoken to.
my %constant = (curl => qr/\bCURL[A-Z]*_[A-Z0-9_]+\b/, ssh => qr/\bSSH_[A-Z0-9_]+\b/, ldns => qr/\bLDNS_[A-Z0-9_]+\b/);
my %used;
find({no_chdir => 1, wanted => sub {
	return if !/\.[ch]$/;
	my $source = text($_);
	for my $library (keys %constant) {
		next if $library eq 'ssh' && $source !~ /<libssh\//;
		$used{$library}{$_} = 1 for $source =~ /$constant{$library}/g;
	}
}}, map { "$root/$_" } qw(lib hub agent hooks));
sub known {
	my ($what, $list, @found) = @_;
	my %known = map { ($_ => 1) } @{$words{$list}};
	cmp_ok(scalar @found, '>', 3, "$what: some are used");
	is(join(", ", sort grep { !$known{$_} } @found), "", '  all are known');
}
known("constants of $_", $_, keys %{$used{$_}}) for sort keys %constant;

# ---- units ----

known('directives of the units', 'systemd', map { text($_) =~ /^([A-Z][A-Za-z]+)=/mg } glob "$root/examples/systemd/*.service");

# ---- HAProxy ----

# A directive is its first word, with some the second one, too.
sub directives {
	my %found;
	for (@_) {
		my ($first, $second) = /^\s*#?\s*([a-z][a-z0-9_-]+)(?:\s+([^\s"\\]+))?/ or next;
		$found{$first =~ /^(?:http-request|option|timeout|stats|tcp-check|tcp-request)$/ ? "$first $second" : $first} = 1;
	}
	return keys %found;
}
# `certsync config haproxy` prints them behind a tab; step 3 of README has them indented.
my @printed = text("$root/hub/cli/haproxy.c") =~ /"(?:#?\\t)+(#?[a-z][^"]*)/g;
my ($step) = text("$root/README.md") =~ /^\*\*3\. (.*?)^\*\*4\. /ms;
known('directives of HAProxy in what is to be copied', 'haproxy',
	directives(@printed, $step =~ /^    +(.*)/mg, grep { !/^\s*#/ } split /\n/, text("$root/examples/nodes/haproxy/etc/haproxy/haproxy.cfg")));
known('commands of its runtime API', 'commands', map { text($_) =~ /"((?:show|set|commit|abort|add|new|del) [a-z]+(?: [a-z-]+)?)\b/g } glob "$root/hooks/*.c");

done_testing;

__DATA__
curl: CURLE_OK, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CONNECT_ERROR, CURLE_WRITE_ERROR,
CURLINFO_HEADER_IN, CURLINFO_PRIVATE, CURLINFO_REDIRECT_URL, CURLINFO_RESPONSE_CODE, CURLMOPT_MAX_TOTAL_CONNECTIONS, CURLM_OK,
CURLOPT_CAINFO, CURLOPT_CAPATH, CURLOPT_CONNECTTIMEOUT, CURLOPT_CONNECT_TO, CURLOPT_DEBUGDATA, CURLOPT_DEBUGFUNCTION,
CURLOPT_ERRORBUFFER, CURLOPT_FOLLOWLOCATION, CURLOPT_HEADERDATA, CURLOPT_HEADERFUNCTION, CURLOPT_HTTPGET, CURLOPT_HTTPHEADER,
CURLOPT_HTTP_VERSION, CURLOPT_LOW_SPEED_LIMIT, CURLOPT_LOW_SPEED_TIME, CURLOPT_MAIL_FROM, CURLOPT_MAIL_RCPT, CURLOPT_MAXFILESIZE,
CURLOPT_NETRC, CURLOPT_NOBODY, CURLOPT_NOSIGNAL, CURLOPT_PASSWORD, CURLOPT_POST, CURLOPT_POSTFIELDS, CURLOPT_POSTFIELDSIZE,
CURLOPT_PRIVATE, CURLOPT_PROTOCOLS, CURLOPT_PROXY, CURLOPT_READDATA, CURLOPT_READFUNCTION, CURLOPT_SSLVERSION,
CURLOPT_SSL_VERIFYHOST, CURLOPT_SSL_VERIFYPEER, CURLOPT_TIMEOUT, CURLOPT_UPLOAD, CURLOPT_URL, CURLOPT_USERAGENT,
CURLOPT_USERNAME, CURLOPT_USE_SSL, CURLOPT_VERBOSE, CURLOPT_WRITEDATA, CURLOPT_WRITEFUNCTION, CURLPROTO_HTTP, CURLPROTO_HTTPS,
CURLPROTO_SMTP, CURLPROTO_SMTPS, CURLUE_OK, CURLUPART_PORT, CURLUPART_SCHEME, CURLUPART_URL, CURLUSESSL_ALL, CURLUSESSL_NONE,
CURLUSESSL_TRY, CURLU_DEFAULT_PORT, CURL_ERROR_SIZE, CURL_GLOBAL_DEFAULT, CURL_HTTP_VERSION_1_1, CURL_NETRC_IGNORED
ssh: SSH_AGAIN, SSH_AUTH_AGAIN, SSH_AUTH_ERROR, SSH_AUTH_PARTIAL, SSH_AUTH_SUCCESS, SSH_CLOSED_ERROR, SSH_EOF, SSH_ERROR, SSH_OK,
SSH_OPTIONS_CIPHERS_C_S, SSH_OPTIONS_CIPHERS_S_C, SSH_OPTIONS_COMPRESSION, SSH_OPTIONS_FD, SSH_OPTIONS_GLOBAL_KNOWNHOSTS,
SSH_OPTIONS_HMAC_C_S, SSH_OPTIONS_HMAC_S_C, SSH_OPTIONS_HOST, SSH_OPTIONS_HOSTKEYS, SSH_OPTIONS_KEY_EXCHANGE,
SSH_OPTIONS_KNOWNHOSTS, SSH_OPTIONS_NODELAY, SSH_OPTIONS_PORT_STR, SSH_OPTIONS_PROCESS_CONFIG, SSH_OPTIONS_SSH_DIR,
SSH_OPTIONS_USER, SSH_PUBLICKEY_HASH_SHA256, SSH_VERSION_INT, SSH_WRITE_PENDING
ldns: LDNS_RCODE_NOERROR, LDNS_RCODE_NXDOMAIN, LDNS_RD, LDNS_RDF_TYPE_A, LDNS_RDF_TYPE_AAAA, LDNS_RR_CLASS_IN, LDNS_RR_TYPE_A,
LDNS_RR_TYPE_AAAA, LDNS_RR_TYPE_CNAME, LDNS_RR_TYPE_NS, LDNS_RR_TYPE_SOA, LDNS_RR_TYPE_TXT, LDNS_STATUS_NETWORK_ERR,
LDNS_STATUS_OK, LDNS_STATUS_SOCKET_ERROR
systemd: After, Before, CapabilityBoundingSet, ConditionPathExists, Description, Documentation, ExecReload, ExecStart, KillMode,
LimitCORE, LimitMEMLOCK, LimitNOFILE, LockPersonality, MemoryDenyWriteExecute, NoNewPrivileges, OOMPolicy, PrivateDevices,
PrivateMounts, PrivateTmp, ProcSubset, ProtectClock, ProtectControlGroups, ProtectHome, ProtectHostname, ProtectKernelLogs,
ProtectKernelModules, ProtectKernelTunables, ProtectProc, ProtectSystem, ReadOnlyPaths, ReadWritePaths, RemoveIPC, Restart,
RestartPreventExitStatus, RestartSec, RestrictAddressFamilies, RestrictNamespaces, RestrictRealtime, RestrictSUIDSGID,
StartLimitIntervalSec, SyslogIdentifier, SystemCallArchitectures, SystemCallErrorNumber, SystemCallFilter, TimeoutStopSec, Type,
UMask, WantedBy, WatchdogSec
haproxy: acl, backend, bind, chroot, default_backend, default-server, defaults, frontend, global, group, http-request auth,
http-request del-header, http-request redirect, http-request return, listen, mode, option smtpchk, option tcp-check, server, tcp-request content, tcp-request inspect-delay,
ssl-default-bind-options, stats socket, stats timeout, tcp-check expect, timeout check, timeout client, timeout connect,
timeout server, use_backend, user
commands: abort ssl cert, commit ssl cert, set ssl cert, show pools, show ssl cert, show ssl crt-list
