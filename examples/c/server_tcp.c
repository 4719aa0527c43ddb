/* An echo server, one thread for each client: server_tcp ADDRESS PORT */
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

static int s = -1;

static int fail(const char *doing)
{
    fprintf(stderr, "server: %s: %s\n", doing, strerror(errno));
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

    if (count < 3 || inet_pton(AF_INET, words[1], &address.sin_addr) != 1)
        return 2;
    address.sin_port = htons(atoi(words[2]));
    if ((s = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)) < 0)
        return fail("socket");
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
