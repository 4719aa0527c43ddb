/* A time limit as programs had it before there was poll: alarm(2), and a jump out of connect.
 * Usage: jump PORT ANCHORS.  The peer never answers. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "in_tls.h"

static sigjmp_buf out;

static void handle(int number)
{
    siglongjmp(out, number);
}

int main(int count, char **words)
{
    static const char name[] = "server.ssa.test";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    struct itimerval soon = {{0, 0}, {0, 100000}};
    unsigned long id = 0;
    socklen_t size = sizeof id;
    int s;

    if (count != 3)
        return 2;
    address.sin_port = htons(atoi(words[1]));
    s = socket(AF_INET, SOCK_STREAM, IPPROTO_TLS);
    if (s < 0 || setsockopt(s, IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, words[2], strlen(words[2]) + 1) ||
        setsockopt(s, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, name, sizeof name))
        return 1;
    sigaction(SIGALRM, &action, NULL);
    if (sigsetjmp(out, 1) == 0) {
        setitimer(ITIMER_REAL, &soon, NULL);
        connect(s, (struct sockaddr *)&address, sizeof address);
        printf("connect returned: %s\n", strerror(errno));
        return 1;
    }
    if (getsockopt(s, IPPROTO_TLS, TLS_ID, &id, &size))
        return 1;
    close(s);
    s = socket(AF_INET, SOCK_STREAM, IPPROTO_TLS);
    printf("out, %s, another one: %s\n", id ? "still answered" : "not answered", s < 0 ? strerror(errno) : "ok");
    fflush(stdout);
    pause();
    return 0;
}
