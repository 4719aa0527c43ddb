<?php
// An echo server over TLS, all clients in one socket_select(): server.php ADDRESS PORT CHAIN KEY

const IPPROTO_TLS = 205, TLS_CERTIFICATE_CHAIN = 88, TLS_PRIVATE_KEY = 89, TLS_ERROR = 100;

// socket_set_option() passes every value as an int; the bundled FFI passes strings, to a descriptor whose number it knows
$libc = FFI::cdef('int socket(int, int, int); int *__errno_location(void);
    int setsockopt(int, int, int, const char *, unsigned); int getsockopt(int, int, int, char *, unsigned *);');
$fd = $libc->socket(AF_INET, SOCK_STREAM, IPPROTO_TLS);

function fail(string $doing): never
{
    global $libc, $fd;
    $reason = socket_strerror(socket_last_error() ?: $libc->__errno_location()[0]);
    [$text, $size] = [$libc->new('char[1024]'), $libc->new('unsigned')];
    $size->cdata = 1024;
    $libc->getsockopt($fd, IPPROTO_TLS, TLS_ERROR, $text, FFI::addr($size));
    fwrite(STDERR, "server: $doing: $reason: " . FFI::string($text) . "\n");
    exit(1);
}

function set(int $option, string $value): void
{
    global $libc, $fd;
    $libc->setsockopt($fd, IPPROTO_TLS, $option, "$value\0", strlen($value) + 1) === 0 or fail($value);
}

pcntl_async_signals(true);
pcntl_signal(SIGTERM, fn () => exit(0));

[, $address, $port] = $argv;
$fd >= 0 or fail('socket');
set(TLS_CERTIFICATE_CHAIN, $argv[3]);
set(TLS_PRIVATE_KEY, $argv[4]);
$s = socket_import_stream(fopen("php://fd/$fd", 'r+')) or fail('socket');
socket_set_option($s, SOL_SOCKET, SO_REUSEADDR, 1);
socket_set_nonblock($s);
@socket_bind($s, $address, (int) $port) or fail('bind');
@socket_listen($s, SOMAXCONN) or fail('listen');
@socket_getsockname($s, $address, $port) or fail('getsockname');
echo "listening on $port\n";

$clients = $texts = [];
while (true) {
    $waiting = array_filter($texts, fn ($text) => $text !== '');
    $writable = array_intersect_key($clients, $waiting);
    $readable = [$s, ...array_diff_key($clients, $waiting)];
    $failed = null;
    if (@socket_select($readable, $writable, $failed, null) === false) {
        continue;
    }
    foreach ($readable as $ready) {
        if ($ready !== $s) {
            $texts[spl_object_id($ready)] = (string) @socket_read($ready, 65536);
            if ($texts[spl_object_id($ready)] === '') {
                unset($clients[spl_object_id($ready)], $texts[spl_object_id($ready)]);
                socket_close($ready);
            }
        } elseif ($client = @socket_accept($s)) {
            socket_set_nonblock($client);
            [$clients[spl_object_id($client)], $texts[spl_object_id($client)]] = [$client, ''];
        }
    }
    foreach ($writable as $id => $client) {
        $sent = @socket_write($client, $texts[$id]);
        $texts[$id] = $sent === false ? '' : substr($texts[$id], $sent);
    }
}
