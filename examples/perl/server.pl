#!/usr/bin/perl
# An echo server over TLS, one process for each client: server.pl ADDRESS PORT CHAIN KEY
use strict;
use warnings;
use IO::Handle;
use POSIX ':sys_wait_h';
use Socket;

use constant { IPPROTO_TLS => 205, TLS_CERTIFICATE_CHAIN => 88, TLS_PRIVATE_KEY => 89, TLS_ERROR => 100 };

my $s;

sub fail {
    my ($doing, $reason) = (shift, "$!");
    my $text = unpack 'Z*', getsockopt($s, IPPROTO_TLS, TLS_ERROR) // '';
    print STDERR "server: $doing: $reason: $text\n";
    exit 1;
}

sub echo {
    my $client = shift;
    $SIG{TERM} = 'DEFAULT';
    close $s;
    $client->autoflush(1);
    while (my $line = <$client>) {
        print $client $line or last;
    }
    exit 0;
}

my %children;
$SIG{TERM} = sub { kill TERM => keys %children; exit 0 };

my ($address, $port, $chain, $key) = @ARGV;
socket($s, PF_INET, SOCK_STREAM, IPPROTO_TLS) or fail('socket');
setsockopt($s, IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, "$chain\0") or fail($chain);
setsockopt($s, IPPROTO_TLS, TLS_PRIVATE_KEY, "$key\0") or fail($key);
setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1) or fail('setsockopt');
bind($s, pack_sockaddr_in($port, inet_aton($address))) or fail('bind');
listen($s, SOMAXCONN) or fail('listen');
($port) = unpack_sockaddr_in(getsockname($s) // fail('getsockname'));
STDOUT->autoflush(1);
print "listening on $port\n";
while (1) {
    accept(my $client, $s) or next;
    my $pid = fork // fail('fork');
    echo($client) if $pid == 0;
    close $client;
    $children{$pid} = 1;
    while ((my $ended = waitpid(-1, WNOHANG)) > 0) {
        delete $children{$ended};
    }
}
