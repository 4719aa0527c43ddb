<?php
// An echo server, all clients in one socket_select(): server_tcp.php ADDRESS PORT

function fail(string $doing): never
{
    $reason = socket_strerror(socket_last_error());
    fwrite(STDERR, "server: $doing: $reason\n");
    exit(1);
}

pcntl_async_signals(true);
pcntl_signal(SIGTERM, fn () => exit(0));

[, $address, $port] = $argv;
$s = @socket_create(AF_INET, SOCK_STREAM, SOL_TCP) or fail('socket');
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
