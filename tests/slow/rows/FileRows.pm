# Services whose configuration adopt does not read: an agent.conf written by hand has a `file` for what they read, and
# adopt names whatever else they serve.
package FileRows;
use strict;
use warnings;

my %tls = (stunnel => '/etc/stunnel/tls');
my %owner = (stunnel => 'root');

# Returns agent.conf's section, which writes mail.crt and mail.key, or mail.pem.
sub section {
	my ($service, $one) = @_;
	my ($tls, $owner) = ($tls{$service}, $owner{$service});
	my $rights = "owner = \"$owner\" group = \"$owner\"";
	my $files = $one ? "file \"$tls/mail.pem\" { content = \"combined\" $rights mode = \"0600\" }"
		: "file \"$tls/mail.crt\" { content = \"fullchain\" $rights mode = \"0644\" } file \"$tls/mail.key\" { content = \"privkey\" $rights mode = \"0600\" }";
	return "service \"$service\" { $files probe = none }";
}

sub row {
	my ($service, $title, $files, $at, %more) = @_;
	return {service => $service, title => $title, files => $files, at => $at, words => '', services => section($service, delete $more{one}), %more};
}

sub tunnel { my ($global, @sections) = @_; return {'web.conf' => join "\n", 'foreground = yes', 'pid = /run/stunnel.pid', $global, @sections, ''} }
sub listener { my ($name, $port, @more) = @_; return ("[$name]", "accept = 127.0.0.1:$port", 'connect = 127.0.0.1:80', @more) }
my ($mail, $other) = ('cert = /etc/stunnel/tls/mail.pem', "cert = /etc/stunnel/tls/other.pem");

sub rows {
	return (
		row('stunnel', 'a section with its file', tunnel('', listener('web', 8443, $mail)), ['8443 mail.domain.pl new'], one => 1),
		row('stunnel', 'one file for all sections, and another in one', tunnel($mail, listener('web', 8443), listener('other', 8444, $other)),
			['8443 mail.domain.pl new', '8444 www.other.pl same'], one => 1, told => qr/127\.0\.0\.1:8444 \(stunnel4?\) serves TLS, for www\.other\.pl: adopt does not read/),
		row('stunnel', 'names, comments and blanks', tunnel('; cert = /never', listener('web', 8443, "  CERT   =  $tls{stunnel}/mail.pem  "), '[other]', '# key = /never', 'sni = web:www.other.pl', 'connect = 127.0.0.1:80', $other),
			['8443 mail.domain.pl new', '8443 www.other.pl same'], one => 1),
		row('stunnel', 'nothing of it is written', tunnel('', listener('web', 8443, $other)), ['8443 mail.domain.pl same'], one => 1,
			told => qr/127\.0\.0\.1:8443 \(stunnel4?\) serves TLS, for www\.other\.pl: adopt does not read its configuration: service "stunnel" in agent\.conf/),
	);
}

1;
