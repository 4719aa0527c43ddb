/* An HTTP client: client_tcp HOST ADDRESS PORT PATH */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int s = -1;

static int fail(const char *doing)
{
    fprintf(stderr, "client: %s: %s\n", doing, strerror(errno));
    return 1;
}

int main(int count, char **words)
{
    static char buffer[65536];
    struct sockaddr_in address = {.sin_family = AF_INET};
    FILE *response;
    size_t got;

    if (count < 5 || inet_pton(AF_INET, words[2], &address.sin_addr) != 1)
        return 2;
    address.sin_port = htons(atoi(words[3]));
    if ((s = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)) < 0)
        return fail("socket");
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
