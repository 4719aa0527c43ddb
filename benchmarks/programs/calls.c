/* How long system calls take: calls PORT NAME CHAIN KEY COUNT
 *
 * First calls on plain sockets, which a boundary should leave alone.  Then, unless PORT is 0, on secure sockets: as a
 * client of the TLS server at PORT, which greets with one byte, and as a server, which says on which port it listens
 * and waits for COUNT clients.  Every call is timed on its own; the numbers go to standard output, one JSON object a
 * line: {"on": "plain", "call": "connect", "ns": [...]}.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "in_tls.h"

enum { PATIENCE_S = 60, BACKLOG = 1024 };

struct series {
    const char *name;
    long *ns;
    int count;
};

static int most;
static struct timespec begun;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void check(int result, const char *what)
{
    if (result < 0)
        fail(what);
}

static void start(void)
{
    clock_gettime(CLOCK_MONOTONIC, &begun);
}

static void stop(struct series *series)
{
    struct timespec ended;

    clock_gettime(CLOCK_MONOTONIC, &ended);
    series->ns[series->count++] = (ended.tv_sec - begun.tv_sec) * 1000000000L + (ended.tv_nsec - begun.tv_nsec);
}

static struct series series(const char *name)
{
    struct series made = {name, calloc((size_t)most, sizeof(long)), 0};

    if (made.ns == NULL)
        fail("calloc");
    return made;
}

static void print(const char *on, const struct series *series)
{
    printf("{\"on\": \"%s\", \"call\": \"%s\", \"ns\": [", on, series->name);
    for (int i = 0; i < series->count; i++)
        printf("%s%ld", i ? ", " : "", series->ns[i]);
    printf("]}\n");
    fflush(stdout);
    free(series->ns);
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((in_port_t)port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int listening(int protocol, const char *chain, const char *key, struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int listener = socket(AF_INET, SOCK_STREAM, protocol);

    check(listener, "socket");
    if (chain != NULL) {
        check(setsockopt(listener, IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, chain, (socklen_t)strlen(chain) + 1), "chain");
        check(setsockopt(listener, IPPROTO_TLS, TLS_PRIVATE_KEY, key, (socklen_t)strlen(key) + 1), "key");
    }
    *address = loopback(0);
    check(bind(listener, (struct sockaddr *)address, sizeof *address), "bind");
    check(listen(listener, BACKLOG), "listen");
    check(getsockname(listener, (struct sockaddr *)address, &size), "getsockname");
    return listener;
}

static void plain_calls(void)
{
    struct series sockets = series("socket"), options = series("setsockopt"), reads = series("getsockopt"),
                  connects = series("connect"), names = series("getsockname"), accepts = series("accept"),
                  transfers = series("write and read");
    struct sockaddr_in address, name;
    int listener = listening(0, NULL, NULL, &address), one = 1, pair[2];
    char byte = '+';

    check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
    for (int i = 0; i < most; i++) {
        socklen_t size = sizeof name, length = sizeof one;
        int client, server;

        start(), client = socket(AF_INET, SOCK_STREAM, 0), stop(&sockets);
        check(client, "socket");
        start(), check(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), "setsockopt"), stop(&options);
        start(), check(getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, &length), "getsockopt"), stop(&reads);
        start(), check(connect(client, (struct sockaddr *)&address, sizeof address), "connect"), stop(&connects);
        start(), server = accept(listener, NULL, NULL), stop(&accepts);
        check(server, "accept");
        start(), check(getsockname(client, (struct sockaddr *)&name, &size), "getsockname"), stop(&names);
        start(), check(write(pair[0], &byte, 1) != 1 || read(pair[1], &byte, 1) != 1 ? -1 : 0, "pair"), stop(&transfers);
        close(server);
        close(client);
    }
    close(pair[0]);
    close(pair[1]);
    close(listener);
    print("plain", &sockets);
    print("plain", &options);
    print("plain", &reads);
    print("plain", &connects);
    print("plain", &accepts);
    print("plain", &names);
    print("plain", &transfers);
}

/* Without a connection, so that nobody is still busy with the end of the one before. */
static void option_calls(const char *name)
{
    struct series sockets = series("socket"), options = series("setsockopt TLS_REMOTE_HOSTNAME"),
                  reads = series("getsockopt TLS_REMOTE_HOSTNAME");
    char text[256];

    for (int i = 0; i < most; i++) {
        socklen_t length = sizeof text;
        int client;

        start(), client = socket(AF_INET, SOCK_STREAM, IPPROTO_TLS), stop(&sockets);
        check(client, "socket");
        start();
        check(setsockopt(client, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, name, (socklen_t)strlen(name) + 1), "hostname");
        stop(&options);
        start(), check(getsockopt(client, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, text, &length), "getsockopt"), stop(&reads);
        close(client);
    }
    print("secure", &sockets);
    print("secure", &options);
    print("secure", &reads);
}

static void client_calls(int port, const char *name)
{
    struct series connects = series("connect, handshake included"), names = series("getpeername");
    struct sockaddr_in address = loopback(port), peer;
    char byte;

    for (int i = 0; i < most; i++) {
        socklen_t size = sizeof peer;
        int client = socket(AF_INET, SOCK_STREAM, IPPROTO_TLS);

        check(client, "socket");
        check(setsockopt(client, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, name, (socklen_t)strlen(name) + 1), "hostname");
        start(), check(connect(client, (struct sockaddr *)&address, sizeof address), "connect"), stop(&connects);
        start(), check(getpeername(client, (struct sockaddr *)&peer, &size), "getpeername"), stop(&names);
        check(read(client, &byte, 1) == 1 ? 0 : -1, "greeting");
        close(client);
    }
    print("secure", &connects);
    print("secure", &names);
}

static void server_calls(const char *chain, const char *key)
{
    struct series accepts = series("accept, peer ready");
    struct sockaddr_in address;
    int listener = listening(IPPROTO_TLS, chain, key, &address), *accepted = calloc((size_t)most, sizeof(int));
    struct pollfd ready = {.fd = listener, .events = POLLIN};

    if (accepted == NULL)
        fail("calloc");
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int i = 0; i < most; i++) {
        check(poll(&ready, 1, -1), "poll");
        start(), accepted[i] = accept(listener, NULL, NULL), stop(&accepts);
        check(accepted[i], "accept");
        check(write(accepted[i], "+", 1) == 1 ? 0 : -1, "greet");
    }
    print("secure", &accepts);
    for (int i = 0; i < most; i++)
        close(accepted[i]);
    free(accepted);
    close(listener);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: calls PORT NAME CHAIN KEY COUNT\n");
        return 2;
    }
    alarm(PATIENCE_S);
    most = atoi(argv[5]);
    plain_calls();
    if (atoi(argv[1]) == 0)
        return 0;
    option_calls(argv[2]);
    client_calls(atoi(argv[1]), argv[2]);
    server_calls(argv[3], argv[4]);
    return 0;
}
