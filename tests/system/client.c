/* A client without any library of ours: what the published API promises to every program.
 * Usage: client PORT ANCHORS NAME.  Prints what it met on one line. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "in_tls.h"

static int fail(const char *what, int s)
{
    char text[1024] = "";
    socklen_t size = sizeof text;
    int code = errno;

    if (s >= 0)
        getsockopt(s, IPPROTO_TLS, TLS_ERROR, text, &size);
    printf("%s: %d %s\n", what, code, text);
    return 1;
}

int main(int count, char **words)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    static char buffer[65536];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char cipher[100];
    socklen_t size = sizeof cipher, room = sizeof address;
    long total = 0;
    ssize_t got;
    int s;

    if (count != 4)
        return 2;
    address.sin_port = htons(atoi(words[1]));
    if ((s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TLS)) < 0)
        return fail("socket", -1);
    if (setsockopt(s, IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, words[2], strlen(words[2]) + 1))
        return fail("anchors", s);
    if (setsockopt(s, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, words[3], strlen(words[3]) + 1))
        return fail("hostname", s);
    if (connect(s, (struct sockaddr *)&address, sizeof address))
        return fail("connect", s);
    if (getsockopt(s, IPPROTO_TLS, TLS_CHOSEN_CIPHER, cipher, &size))
        return fail("cipher", s);
    memset(&address, 0, sizeof address);
    if (getpeername(s, (struct sockaddr *)&address, &room))
        return fail("getpeername", s);
    if (write(s, request, sizeof request - 1) != sizeof request - 1)
        return fail("write", s);
    while ((got = read(s, buffer, sizeof buffer)) > 0)
        total += got;
    if (got < 0)
        return fail("read", s);
    printf("%ld bytes, %.4s, %s:%d, size %d\n", total, cipher, inet_ntoa(address.sin_addr), ntohs(address.sin_port),
           (int)(size == strlen(cipher) + 1));
    return close(s);
}
