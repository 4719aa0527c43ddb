/* An echo server over TLS, one thread for each client: server ADDRESS PORT CHAIN KEY */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "in_tls.h"

static int s = -1;

static int fail(const char *doing)
{
    char text[1024] = "", *reason = strerror(errno);
    socklen_t size = sizeof text;

    getsockopt(s, IPPROTO_TLS, TLS_ERROR, text, &size);
    fprintf(stderr, "server: %s: %s: %s\n", doing, reason, text);
    return 1;
}

static void *echo(void *argument)
{
    int client = (int)(intptr_t)argument;
    char buffer[16384];
    ssize_t got;

    while ((got = recv(client, buffer, sizeof buffer, 0)) > 0)
        if (send(client, buffer, got, MSG_NOSIGNAL) != got)
            break;
    close(client);
    return NULL;
}

static void end(int number)
{
    (void)number;
    _exit(0);
}

int main(int count, char **words)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int client, yes = 1;
    pthread_t thread;

    if (count < 5 || inet_pton(AF_INET, words[1], &address.sin_addr) != 1)
        return 2;
    address.sin_port = htons(atoi(words[2]));
    if ((s = socket(AF_INET, SOCK_STREAM, IPPROTO_TLS)) < 0)
        return fail("socket");
    if (setsockopt(s, IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, words[3], strlen(words[3]) + 1))
        return fail(words[3]);
    if (setsockopt(s, IPPROTO_TLS, TLS_PRIVATE_KEY, words[4], strlen(words[4]) + 1))
        return fail(words[4]);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(s, (struct sockaddr *)&address, sizeof address))
        return fail("bind");
    if (listen(s, SOMAXCONN))
        return fail("listen");
    if (getsockname(s, (struct sockaddr *)&address, &size))
        return fail("getsockname");
    signal(SIGTERM, end);
    printf("listening on %d\n", ntohs(address.sin_port));
    fflush(stdout);
    while ((client = accept(s, NULL, NULL)) >= 0)
        if (pthread_create(&thread, NULL, echo, (void *)(intptr_t)client))
            close(client);
        else
            pthread_detach(thread);
    return fail("accept");
}
