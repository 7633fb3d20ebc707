#!/usr/bin/perl
# An independent verifier (Mail::DKIM) for tests: JSON lines in, JSON lines out, in order. It asks the DNS server whose
# port is given.
#
# In:  {"id", "message": base64}. Out: {"id", "dkim": [{"result", "selector", "reason"}], "arc", "arc_reason"}.

use strict;
use warnings;
use JSON::PP;
use MIME::Base64;
use Mail::DKIM::ARC::Verifier;
use Mail::DKIM::DNS;
use Mail::DKIM::Verifier;
use Net::DNS;

my ($port) = @ARGV;
my $resolver = Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => $port, recurse => 1);
$resolver->udppacketsize(1232);
Mail::DKIM::DNS::resolver($resolver);
$Mail::DKIM::DNS::TIMEOUT = 10;
$| = 1;

sub feed {
    my ($verifier, $message) = @_;
    $verifier->PRINT($message);
    $verifier->CLOSE;
    return $verifier;
}

sub signatures {
    my ($message) = @_;
    my $verifier = feed(Mail::DKIM::Verifier->new, $message);
    return [
        map { { result => $_->result, selector => $_->selector // '', reason => $_->result_detail } }
            $verifier->signatures
    ];
}

while (my $line = <STDIN>) {
    my $asked = decode_json($line);
    my $message = decode_base64($asked->{message});
    my %answer = (id => $asked->{id});
    $answer{dkim} = eval { signatures($message) } // [{ result => 'error', selector => '', reason => "$@" }];
    my $chain = eval { feed(Mail::DKIM::ARC::Verifier->new, $message) };
    $answer{arc} = $chain ? $chain->result : 'error';
    $answer{arc_reason} = $chain ? $chain->result_detail : "$@";
    print encode_json(\%answer), "\n";
}
