#!/usr/bin/perl
# An HTTP client: client_tcp.pl HOST ADDRESS PORT PATH
use strict;
use warnings;
use IO::Handle;
use Socket;

my $s;

sub fail {
    my ($doing, $reason) = (shift, "$!");
    print STDERR "client: $doing: $reason\n";
    exit 1;
}

my ($host, $address, $port, $path) = @ARGV;
socket($s, PF_INET, SOCK_STREAM, Socket::IPPROTO_TCP) or fail('socket');
connect($s, pack_sockaddr_in($port, inet_aton($address))) or fail('connect');
$s->autoflush(1);
print $s "GET $path HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n" or fail('write');
my $status = <$s> // fail('read');
if ($status !~ / 200 /) {
    print STDERR "client: $status";
    exit 1;
}
while (my $line = <$s>) {
    last if $line eq "\r\n";
}
binmode STDOUT;
my ($piece, $got);
print $piece while $got = read($s, $piece, 65536);
defined $got or fail('read');
