/* Signals that come at the worst moment: after a blocking call has begun, and before it waits.
 *
 * The library calls ppoll and sigaction as any library does, so this program can stand in front of them (compile it with
 * -rdynamic).  Its ppoll sends the process a signal first.  usage: preload_signals PORT CHAIN KEY ANCHORS */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "in_tls.h"

enum { ANCHORS = 4, WORDS };

static int coming; /* the signal that comes just before the next wait, and none after it */
static int waits, looks, handled;

int __sigaction(int, const struct sigaction *, struct sigaction *);

static void report(const char *what, bool failed)
{
    printf("%s: %s, handled %d, waited %d\n", what, failed ? strerrorname_np(errno) : "ok", handled, waits);
    fflush(stdout);
    waits = handled = 0;
}

int ppoll(struct pollfd *looked, nfds_t count, const struct timespec *limit, const sigset_t *mask)
{
    if (coming)
        kill(getpid(), coming);
    else {
        report("waits on", false);
        _exit(0);
    }
    coming = 0;
    waits++;
    return (int)syscall(SYS_ppoll, looked, count, limit, mask, 8);
}

int sigaction(int number, const struct sigaction *wanted, struct sigaction *was)
{
    looks += wanted == NULL;
    return __sigaction(number, wanted, was);
}

static void note(int number)
{
    (void)number;
    handled++;
}

static void handle(int number, int flags)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = flags};

    sigaction(number, &action, NULL);
}

static void *block_signals(void *unused)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pause();
    return unused;
}

int main(int count, char **words)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, there = here;
    int listener = socket(AF_INET, SOCK_STREAM, IPPROTO_TLS), client = socket(AF_INET, SOCK_STREAM, IPPROTO_TLS);
    pthread_t other;

    if (count != WORDS || listener < 0 || client < 0)
        return 2;
    there.sin_port = htons((unsigned short)strtol(words[1], NULL, 10));
    setsockopt(listener, IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, words[2], strlen(words[2]) + 1);
    setsockopt(listener, IPPROTO_TLS, TLS_PRIVATE_KEY, words[3], strlen(words[3]) + 1);
    setsockopt(client, IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, words[ANCHORS], strlen(words[ANCHORS]) + 1);
    setsockopt(client, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, "server.ssa.test", sizeof "server.ssa.test");
    report("listen", bind(listener, (void *)&here, sizeof here) || listen(listener, 1));
    handle(SIGUSR1, 0);
    coming = SIGUSR1;
    report("accept", accept(listener, NULL, NULL) < 0);
    pthread_create(&other, NULL, block_signals, NULL);
    looks = 0;
    coming = SIGUSR1;
    report("accept beside another thread", accept(listener, NULL, NULL) < 0);
    printf("looked at %d handler\n", looks);
    coming = SIGUSR1;
    report("connect", connect(client, (void *)&there, sizeof there) < 0);
    handle(SIGUSR1, SA_RESTART);
    coming = SIGUSR1;
    report("accept again", accept(listener, NULL, NULL) < 0);
    return 1;
}
