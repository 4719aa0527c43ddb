<?php
// An HTTPS client: client.php HOST ADDRESS PORT PATH CAFILE

const IPPROTO_TLS = 205, TLS_REMOTE_HOSTNAME = 85, TLS_TRUSTED_PEER_CERTIFICATES = 87, TLS_ERROR = 100;

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
    fwrite(STDERR, "client: $doing: $reason: " . FFI::string($text) . "\n");
    exit(1);
}

function set(int $option, string $value): void
{
    global $libc, $fd;
    $libc->setsockopt($fd, IPPROTO_TLS, $option, "$value\0", strlen($value) + 1) === 0 or fail($value);
}

[, $host, $address, $port, $path] = $argv;
$fd >= 0 or fail('socket');
set(TLS_TRUSTED_PEER_CERTIFICATES, $argv[5]);
set(TLS_REMOTE_HOSTNAME, $host);
$s = socket_import_stream(fopen("php://fd/$fd", 'r+')) or fail('socket');
@socket_connect($s, $address, (int) $port) or fail('connect');
@socket_write($s, "GET $path HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n") or fail('write');
$response = '';
while (($piece = @socket_read($s, 65536)) !== '') {
    $response .= $piece !== false ? $piece : fail('read');
}
[$head, $body] = explode("\r\n\r\n", $response, 2) + ['', ''];
$status = strtok($head, "\r\n");
if (!str_contains($status, ' 200 ')) {
    fwrite(STDERR, "client: $status\n");
    exit(1);
}
echo $body;
