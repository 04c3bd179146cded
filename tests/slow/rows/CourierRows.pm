package CourierRows;
use strict;
use warnings;

my $tls = '/etc/courier/tls';

# What the files of a server say besides what a row is about.
my $imap = "ADDRESS=127.0.0.1\nPORT=143\nMAXDAEMONS=40\nMAXPERIP=40\nPIDFILE=/run/courier/imapd.pid\nTCPDOPTS=\"-nodnslookup -noidentlookup\"\nLOGGEROPTS=\"-name=imapd\"\nDEFDOMAIN=\n"
	. "IMAP_CAPABILITY=\"IMAP4rev1\"\nIMAP_CAPABILITY_TLS=\"IMAP4rev1 AUTH=PLAIN\"\nIMAP_UMASK=022\nAUTHMODULES=authdaemon\nIMAP_MAILBOX_SANITY_CHECK=0\nMAILDIRPATH=Maildir\nIMAPDSTART=YES\n";
my $pop = "ADDRESS=127.0.0.1\nPORT=110\nMAXDAEMONS=40\nMAXPERIP=40\nPIDFILE=/run/courier/pop3d.pid\nTCPDOPTS=\"-nodnslookup -noidentlookup\"\nLOGGEROPTS=\"-name=pop3d\"\nDEFDOMAIN=\nPOP3AUTH=\"\"\nMAILDIRPATH=Maildir\nPOP3DSTART=YES\n";

sub imaps { my ($text, %wish) = @_; return "SSLPORT=993\nSSLADDRESS=" . ($wish{address} // '127.0.0.1') . "\nSSLPIDFILE=/run/courier/imapd-ssl.pid\nSSLLOGGEROPTS=\"-name=imapd-ssl\"\n" . ($wish{start} // "IMAPDSSLSTART=YES\n")
	. "IMAPDSTARTTLS=YES\nCOURIERTLS=/usr/bin/couriertls\nTLS_VERIFYPEER=NONE\nTLS_CACHEFILE=/var/lib/courier/cache\nTLS_CACHESIZE=524288\n$text" }
sub pops { my ($text) = @_; return "SSLPORT=995\nSSLADDRESS=127.0.0.1\nSSLPIDFILE=/run/courier/pop3d-ssl.pid\nSSLLOGGEROPTS=\"-name=pop3d-ssl\"\nPOP3DSSLSTART=YES\nPOP3_STARTTLS=YES\n"
	. "COURIERTLS=/usr/bin/couriertls\nTLS_VERIFYPEER=NONE\n$text" }

# Each handshake is a process of Courier's, so that a server for every address takes its time.
sub row {
	my ($title, $text, $at, %more) = @_;
	my $files = delete $more{files} // {};
	my $imaps = $text eq '' ? {} : {'imapd-ssl' => imaps($text, address => delete $more{address})};
	return {title => $title, at => $at, files => {imapd => $imap, %$imaps, %$files}, %more};
}

my $one = "TLS_CERTFILE=$tls/old.pem\n";
my $mail = '993 mail.domain.pl new';
my $other = '993 www.other.pl same';
my @two = (servers => [qw(imapd-ssl pop3d-ssl)]);
sub put { my ($from, $to) = @_; return "cp -p $tls/$from $tls/$to" }

sub rows {
	return map { {service => 'courier', %$_} } (
		row('one file', $one, [$mail, '143 mail.domain.pl new'], servers => [qw(imapd imapd-ssl)]),
		row('certificate and key apart', "TLS_CERTFILE=$tls/old.crt\nTLS_PRIVATE_KEYFILE=$tls/old.key\n", [$mail]),
		row('quotes and variables', "dir='$tls'\nTLS_CERTFILE=\"\${dir}\"/old'.pem'\n", [$mail]),
		row('comments and continued lines', "# TLS_CERTFILE=/never\nTLS_CERTFILE=/etc/courier/\\\ntls/old.pem # ours\n##VERSION: $%\n", [$mail]),
		row('of two lines the last counts', "TLS_CERTFILE=/never\n$one", [$mail]),
		row('another file that it reads', ". /etc/courier/tls.sh\n", [$mail], files => {'tls.sh' => $one}),
		row('a last line that is not true', "$one\[ -f /etc/courier/none ] && TLS_CERTFILE=/never\n", [$mail]),
		row('the prefix of the start script', "TLS_CERTFILE=/etc\${prefix#/usr}/courier/tls/old.pem\n", [$mail]),
		row('a file for another name', $one, [$mail, $other], run => [put('other.pem', 'old.pem.www.other.pl')]),
		row('a file for one of ours', $one, [$mail, '993 imap.domain.pl new'], run => [put('imap.pem', 'old.pem.imap.domain.pl')]),
		row('a file for a name that it is not for', $one, ['993 mail.domain.pl same', '993 imap.domain.pl new'], run => [put('other.pem', 'old.pem.mail.domain.pl')],
			told => qr/old\.pem\.mail\.domain\.pl.*(is for www\.other\.pl|left)/),
		row('a file for a domain', $one, [$mail, '993 imap.domain.pl new'], run => [put('imap.pem', 'old.pem.domain.pl')]),
		row('a file for an address', $one, ['127.0.0.1:993 none.example new', '192.0.2.11:993 none.example same'], address => 0, run => [put('other.pem', 'old.pem.192.0.2.11')]),
		row('certificate and key for another name', "TLS_CERTFILE=$tls/old.crt\nTLS_PRIVATE_KEYFILE=$tls/old.key\n", [$mail, $other],
			run => [put('other.crt', 'old.crt.www.other.pl'), put('other.key', 'old.key.www.other.pl')]),
		row('another server with another name', $one, [$mail, '995 mail.domain.pl same'], @two, files => {pop3d => $pop, 'pop3d-ssl' => pops("TLS_CERTFILE=$tls/other.pem\n")}),
		row('two servers with one file', $one, [$mail, '995 mail.domain.pl new'], @two, files => {pop3d => $pop, 'pop3d-ssl' => pops($one)}),
		row('two certificates with one key', "TLS_CERTFILE=$tls/old.crt\nTLS_PRIVATE_KEYFILE=$tls/old.key\n", ['993 mail.domain.pl same', '995 www.shop.pl same'], @two,
			files => {pop3d => $pop, 'pop3d-ssl' => pops("TLS_CERTFILE=$tls/shop.crt\nTLS_PRIVATE_KEYFILE=$tls/old.key\n")}, told => qr/left/),
		row('one that the unit starts nevertheless', '', [$mail], files => {'imapd-ssl' => imaps($one, start => "IMAPDSSLSTART=NO\n")}),
		row('behind a link', "TLS_CERTFILE=$tls/link.pem\n", ['993 mail.domain.pl same'], run => ["ln -s old.pem $tls/link.pem"], told => qr/link\.pem: left: is (no regular file|behind)/),
	);
}

1;
