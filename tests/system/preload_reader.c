/* A client whose buffers the compiler checks (_FORTIFY_SOURCE): reads go to other functions of libc then.
 * Usage: reader PORT ANCHORS CALL.  Reads until something other than data comes, and says what. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "in_tls.h"

static ssize_t get(int s, const char *call, size_t size)
{
    static char buffer[16];

    if (strcmp(call, "read") == 0)
        return read(s, buffer, size);
    if (strcmp(call, "recv") == 0)
        return recv(s, buffer, size, 0);
    return recvfrom(s, buffer, size, 0, NULL, NULL);
}

int main(int count, char **words)
{
    static const char name[] = "server.ssa.test";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    size_t size = count > 3 ? 16 - (size_t)(count - 4) : 0; /* not known to the compiler */
    long total = 0;
    ssize_t got;
    int s;

    if (count != 4)
        return 2;
    address.sin_port = htons(atoi(words[1]));
    if ((s = socket(AF_INET, SOCK_STREAM, IPPROTO_TLS)) < 0 ||
        setsockopt(s, IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, words[2], strlen(words[2]) + 1) ||
        setsockopt(s, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, name, sizeof name) ||
        connect(s, (struct sockaddr *)&address, sizeof address))
        return 1;
    while ((got = get(s, words[3], size)) > 0)
        total += got;
    printf("%ld bytes, then errno %d\n", total, got < 0 ? errno : 0);
    return 0;
}
