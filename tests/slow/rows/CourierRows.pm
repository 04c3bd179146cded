package CourierRows;
use strict;
use warnings;

my $tls = '/etc/courier/tls';

# What the files of a server say besides what a row is about.
my $imap = "ADDRESS=127.0.0.1\nPORT=143\nMAXDAEMONS=40\nMAXPERIP=40\nPIDFILE=/run/courier/imapd.pid\nTCPDOPTS=\"-nodnslookup -noidentlookup\"\nLOGGEROPTS=\"-name=imapd\"\nDEFDOMAIN=\n"
	. "IMAP_CAPABILITY=\"IMAP4rev1\"\nIMAP_CAPABILITY_TLS=\"IMAP4rev1 AUTH=PLAIN\"\nIMAP_UMASK=022\nAUTHMODULES=authdaemon\nIMAP_MAILBOX_SANITY_CHECK=0\nMAILDIRPATH=Maildir\nIMAPDSTART=YES\n";

sub imaps { my ($text, %wish) = @_; return "SSLPORT=993\nSSLADDRESS=" . ($wish{address} // '127.0.0.1') . "\nSSLPIDFILE=/run/courier/imapd-ssl.pid\nSSLLOGGEROPTS=\"-name=imapd-ssl\"\n" . ($wish{start} // "IMAPDSSLSTART=YES\n")
	. "IMAPDSTARTTLS=YES\nCOURIERTLS=/usr/bin/couriertls\nTLS_VERIFYPEER=NONE\nTLS_CACHEFILE=/var/lib/courier/cache\nTLS_CACHESIZE=524288\n$text" }

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
sub put { my ($from, $to) = @_; return "cp -p $tls/$from $tls/$to" }

sub rows {
	return map { {service => 'courier', %$_} } (
		row('one file', $one, [$mail, '143 mail.domain.pl new'], servers => [qw(imapd imapd-ssl)]),
		row('certificate and key apart', "TLS_CERTFILE=$tls/old.crt\nTLS_PRIVATE_KEYFILE=$tls/old.key\n", [$mail]),
		row('quotes and variables', "dir='$tls'\nTLS_CERTFILE=\"\${dir}\"/old'.pem'\n", [$mail]),
		row('comments and continued lines', "# TLS_CERTFILE=/never\nTLS_CERTFILE=/etc/courier/\\\ntls/old.pem # ours\n##VERSION: $%\n", [$mail]),
		row('of two lines the last counts', "TLS_CERTFILE=/never\n$one", [$mail]),
		row('another file that it reads', ". /etc/courier/tls.sh\n", [$mail], files => {'tls.sh' => $one}),
		row('a file for another name', $one, [$mail, $other], run => [put('other.pem', 'old.pem.www.other.pl')]),
		row('a file for one of ours', $one, [$mail, '993 imap.domain.pl new'], run => [put('imap.pem', 'old.pem.imap.domain.pl')]),
	);
}

1;
