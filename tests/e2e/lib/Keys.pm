# Where the hub's private keys are: in STATE-keys, each named by the SHA-256 of its public half.
#
#   key_of_chain($state, $fullchain)   returns the PEM of the key of the first certificate there; '' when it is not kept
#   key_of_record($state, $record)     returns that of the key which a record names (acme/NAME/account.pub, …/key.pub)
#   key_path_of_chain, key_path_of_record   return the files
package Keys;
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use Exporter qw(import);

our @EXPORT = qw(key_of_chain key_of_record key_path_of_chain key_path_of_record);

sub slurp {
	my ($path) = @_;
	open my $file, '<:raw', $path or return '';
	local $/;
	return <$file> // '';
}

sub path_of {
	my ($state, $public) = @_;
	return '' if $public eq '';
	my $name = sha256_hex($public) . '.pem';
	my ($found) = grep { -e } map { "$state-keys/$_/$name" } qw(leaf pending account);
	return $found // '';
}

sub key_path_of_chain {
	my ($state, $path) = @_;
	return path_of($state, -e $path ? scalar `openssl x509 -in $path -noout -pubkey | openssl pkey -pubin -outform der` : '');
}

sub key_path_of_record { my ($state, $path) = @_; return path_of($state, slurp("$state/records/$path")) }
sub key_of_chain { return slurp(key_path_of_chain(@_)) }
sub key_of_record { return slurp(key_path_of_record(@_)) }

1;
