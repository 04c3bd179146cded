# Configurations for the Dovecot that is here: a story writes the words of 2.3, and 2.4 gets them in its own.
#
#   Dovecot::conf($text)     a whole dovecot.conf, with the first lines that 2.4 wants
#   Dovecot::words($text)    what is included by one, or a line that a story looks for
#   Dovecot::since('2.4')    whether it is that version or newer
#   Dovecot::login_services('imap', …)
#                            that their login processes serve many connections. Else one is started for each, and on a slow machine the
#                            ports but the first are not answered.
package Dovecot;
use strict;
use warnings;

my ($major, $minor) = (`dovecot --version 2>/dev/null` =~ /^(\d+)\.(\d+)/, 0, 0);
my %renamed = (ssl_cert => 'ssl_server_cert_file', ssl_key => 'ssl_server_key_file', ssl_alt_cert => 'ssl_server_alt_cert_file',
	ssl_alt_key => 'ssl_server_alt_key_file');
my %told = (static => {password => 'password'}, 'passwd-file' => {scheme => 'default_password_scheme', username_format => undef});

sub since {
	my ($first, $second) = split /\./, shift;
	return $major > $first || $major == $first && $minor >= $second;
}

# passdb and userdb: what stood in `args` has settings of its own.
sub database {
	my ($kind, $driver, $args) = @_;
	my @set;
	for (split ' ', $args // '') {
		my ($name, $value) = /^(\w+)=(.*)/;
		push @set, "passwd_file_path = $_" if !defined $name;
		push @set, $kind eq 'userdb' ? "fields {\n$name = $value\n}" : $told{$driver}{$name} ? "$told{$driver}{$name} = $value" : ()
			if defined $name;
	}
	return join "\n", "$kind $driver {", @set, '}';
}

sub words {
	my ($text) = @_;
	return $text if !since('2.4');
	$text =~ s/^(\s*#?\s*)(ssl_(?:alt_)?(?:cert|key))(\s*=\s*)</$1$renamed{$2}$3/mg;
	$text =~ s/^mail_location = (\w+):(.*)/mail_driver = $1\nmail_path = $2/mg;
	$text =~ s/^disable_plaintext_auth = no$/auth_allow_cleartext = yes/mg;
	$text =~ s/^(passdb|userdb) \{\s*driver = (\S+)(?:\s+args = ([^\n]*))?\s*\}/database($1, $2, $3)/emg;
	return $text;
}

sub login_services {
	my $count = since('2.4') ? 'restart_request_count = unlimited' : 'service_count = 0';
	return join "\n", map { "service $_-login {\n$count\nprocess_min_avail = 2\n}" } @_;
}

sub conf {
	return (since('2.4') ? "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n" : '') . words(@_);
}

1;
