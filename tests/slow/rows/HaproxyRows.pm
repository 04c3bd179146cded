package HaproxyRows;
use strict;
use warnings;

my $start = "defaults\n\tmode http\n\ttimeout client 5s\n\ttimeout server 5s\n\ttimeout connect 5s\n";
sub global { my ($text) = @_; return "global\n\tstats socket /run/haproxy.sock mode 600 level admin\n" . ($text // '') . $start }
sub bind_at { my ($text, $where) = @_; return "frontend f" . int(rand 1e6) . "\n\tbind " . ($where // '127.0.0.1:8443') . " ssl $text\n" }

my $mail = '8443 mail.domain.pl new';
my $other = '8443 www.other.pl same';
my @pem = ('mkdir -p /etc/haproxy/tls', 'cp /etc/old/old.pem /etc/haproxy/tls/mail.pem', 'cp /etc/old/other.pem /etc/haproxy/tls/other.pem');

sub rows {
	return map { {service => 'haproxy', %$_} } (
		{title => 'one file', files => {'haproxy.cfg' => global() . bind_at('crt /etc/old/old.pem')}, at => [$mail]},
		{title => 'a file for each name', files => {'haproxy.cfg' => global() . bind_at('crt /etc/old/old.pem crt /etc/old/other.pem')}, at => [$mail, $other]},
		{title => 'another first', files => {'haproxy.cfg' => global() . bind_at('crt /etc/old/other.pem crt /etc/old/old.pem')}, at => [$mail, $other]},
		{title => 'crt-base', run => \@pem, files => {'haproxy.cfg' => global("\tcrt-base /etc/haproxy/tls\n") . bind_at('crt mail.pem crt other.pem')}, at => [$mail, $other]},
		{title => 'divided, crt-base in another file', run => \@pem, configs => ['/etc/haproxy/conf.d'], at => [$mail, $other],
			files => {'conf.d/00-global.cfg' => global("\tcrt-base /etc/haproxy/tls\n"), 'conf.d/10-web.cfg' => bind_at('crt mail.pem crt other.pem')}},
		{title => 'two files in their order', run => \@pem, configs => ['/etc/haproxy/a.cfg', '/etc/haproxy/b.cfg'], at => [$mail, $other],
			files => {'a.cfg' => global("\tcrt-base /etc/haproxy/tls\n"), 'b.cfg' => bind_at('crt mail.pem') . bind_at('crt other.pem', '127.0.0.1:8444')}, at => [$mail, '8444 mail.domain.pl same']},
		{title => 'a crt-list', at => [$mail, $other], files => {'list' => "# who gets which\n/etc/old/old.pem [alpn h2] mail.domain.pl\n/etc/old/other.pem www.other.pl\n",
				'haproxy.cfg' => global() . bind_at('crt-list /etc/haproxy/list')}},
		{title => 'a crt-list below crt-base', run => \@pem, at => [$mail, $other], files => {'list' => "mail.pem mail.domain.pl\nother.pem [ssl-min-ver TLSv1.2] www.other.pl !x.other.pl\n",
				'haproxy.cfg' => global("\tcrt-base /etc/haproxy/tls\n") . bind_at('crt-list /etc/haproxy/list')}},
		{title => 'a directory', run => \@pem, at => [$mail, $other], files => {'haproxy.cfg' => global() . bind_at('crt /etc/haproxy/tls/')}},
		{title => 'quotes, escapes and comments', at => [$mail, $other], run => ["cp /etc/old/old.pem '/etc/haproxy/a b.pem'"], files => {'haproxy.cfg' => global() . <<'CONF'}},
frontend first # crt /never
	bind 127.0.0.1:8443 ssl crt "/etc/haproxy/a b.pem" crt '/etc/old/other.pem' alpn h2 # crt /never
#	bind 127.0.0.1:8444 ssl crt /never
CONF
		{title => 'certificate and key apart', run => ['mkdir /etc/haproxy/tls', 'cp /etc/old/old.crt /etc/haproxy/tls/mail.pem', 'cp /etc/old/old.key /etc/haproxy/tls/mail.pem.key'],
			at => [$mail], files => {'haproxy.cfg' => global() . bind_at('crt /etc/haproxy/tls/mail.pem')}},
		{title => 'RSA and ECDSA side by side', run => ['mkdir /etc/haproxy/tls', 'cp /etc/old/old.pem /etc/haproxy/tls/mail.pem.ecdsa', 'cp /etc/old/rsa.pem /etc/haproxy/tls/mail.pem.rsa'],
			at => ['8443 mail.domain.pl rsa same', '8443 mail.domain.pl ecdsa same'], told => qr/left: RSA and ECDSA stand side by side/,
			files => {'haproxy.cfg' => global() . bind_at('crt /etc/haproxy/tls/mail.pem')}},
		{title => 'strict about names', at => [$mail, $other, '8443 none.example nothing'], files => {'haproxy.cfg' => global() . bind_at('crt /etc/old/old.pem crt /etc/old/other.pem strict-sni')}},
		{title => 'several addresses in one line', at => ['127.0.0.1:8443 mail.domain.pl new', '192.0.2.11:8444 mail.domain.pl new'],
			files => {'haproxy.cfg' => global() . bind_at('crt /etc/old/old.pem', '127.0.0.1:8443,192.0.2.11:8444')}},
		{title => 'by the address', at => ['127.0.0.1:8443 mail.domain.pl new', '192.0.2.11:8443 mail.domain.pl same'],
			files => {'haproxy.cfg' => global() . bind_at('crt /etc/old/old.pem') . bind_at('crt /etc/old/other.pem', '192.0.2.11:8443')}},
	);
}

1;
