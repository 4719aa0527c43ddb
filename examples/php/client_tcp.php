<?php
// An HTTP client: client_tcp.php HOST ADDRESS PORT PATH

function fail(string $doing): never
{
    $reason = socket_strerror(socket_last_error());
    fwrite(STDERR, "client: $doing: $reason\n");
    exit(1);
}

[, $host, $address, $port, $path] = $argv;
$s = @socket_create(AF_INET, SOCK_STREAM, SOL_TCP) or fail('socket');
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
