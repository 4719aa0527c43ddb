#!/usr/bin/perl
# An HTTPS client: client.pl HOST ADDRESS PORT PATH CAFILE
use strict;
use warnings;
use IO::Handle;
use Socket;

use constant { IPPROTO_TLS => 205, TLS_REMOTE_HOSTNAME => 85, TLS_TRUSTED_PEER_CERTIFICATES => 87, TLS_ERROR => 100 };

my $s;

sub fail {
    my ($doing, $reason) = (shift, "$!");
    my $text = unpack 'Z*', getsockopt($s, IPPROTO_TLS, TLS_ERROR) // '';
    print STDERR "client: $doing: $reason: $text\n";
    exit 1;
}

my ($host, $address, $port, $path, $anchors) = @ARGV;
socket($s, PF_INET, SOCK_STREAM, IPPROTO_TLS) or fail('socket');
setsockopt($s, IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, "$anchors\0") or fail($anchors);
setsockopt($s, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, "$host\0") or fail($host);
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
