/* A signal handler that makes the very calls which it interrupts, a thousand times a second.
 * Usage: handler PORT ANCHORS.  The calls are all on POSIX's list of those that are safe in handlers. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "in_tls.h"

static volatile int current = -1;
static volatile sig_atomic_t answered, refused;

static void handle(int number)
{
    unsigned long id;
    socklen_t size = sizeof id;
    int before = errno, s = current;

    (void)number;
    if (s >= 0) {
        if (getsockopt(s, IPPROTO_TLS, TLS_ID, &id, &size) == 0)
            answered++;
        else
            refused++;
    }
    errno = before;
}

static int one(struct sockaddr_in *address, const char *anchors)
{
    static const char name[] = "server.ssa.test", word[] = "hello";
    char echo[sizeof word];
    size_t total = 0;
    int s = socket(AF_INET, SOCK_STREAM, IPPROTO_TLS);

    if (s < 0)
        return -1;
    current = s;
    if (setsockopt(s, IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, anchors, strlen(anchors) + 1) ||
        setsockopt(s, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, name, sizeof name) ||
        connect(s, (struct sockaddr *)address, sizeof *address) || write(s, word, sizeof word) != sizeof word)
        return -1;
    while (total < sizeof word) {
        ssize_t got = read(s, echo + total, sizeof word - total);

        if (got <= 0)
            return -1;
        total += (size_t)got;
    }
    current = -1;
    return memcmp(echo, word, sizeof word) ? -1 : close(s);
}

int main(int count, char **words)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    struct itimerval tick = {{0, 1000}, {0, 1000}}, none = {{0, 0}, {0, 0}};
    int done = 0;

    if (count != 3)
        return 2;
    address.sin_port = htons(atoi(words[1]));
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &tick, NULL);
    while (done < 20 && one(&address, words[2]) == 0)
        done++;
    setitimer(ITIMER_REAL, &none, NULL);
    printf("%d connections, %s\n", done, answered > 0 && refused == 0 ? "every handler was answered" : strerror(errno));
    return done == 20 ? 0 : 1;
}
