/* An HTTPS client: client HOST ADDRESS PORT PATH CAFILE */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
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
    fprintf(stderr, "client: %s: %s: %s\n", doing, reason, text);
    return 1;
}

int main(int count, char **words)
{
    static char buffer[65536];
    struct sockaddr_in address = {.sin_family = AF_INET};
    FILE *response;
    size_t got;

    if (count < 6 || inet_pton(AF_INET, words[2], &address.sin_addr) != 1)
        return 2;
    address.sin_port = htons(atoi(words[3]));
    if ((s = socket(AF_INET, SOCK_STREAM, IPPROTO_TLS)) < 0)
        return fail("socket");
    if (setsockopt(s, IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, words[5], strlen(words[5]) + 1))
        return fail(words[5]);
    if (setsockopt(s, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, words[1], strlen(words[1]) + 1))
        return fail(words[1]);
    if (connect(s, (struct sockaddr *)&address, sizeof address))
        return fail("connect");
    if (dprintf(s, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", words[4], words[1]) < 0)
        return fail("write");
    if (!(response = fdopen(s, "r")) || !fgets(buffer, sizeof buffer, response))
        return fail("read");
    if (!strstr(buffer, " 200 ")) {
        fprintf(stderr, "client: %s", buffer);
        return 1;
    }
    while (fgets(buffer, sizeof buffer, response) && strcmp(buffer, "\r\n"))
        ;
    while ((got = fread(buffer, 1, sizeof buffer, response)) > 0)
        fwrite(buffer, 1, got, stdout);
    return ferror(response) ? fail("read") : 0;
}
