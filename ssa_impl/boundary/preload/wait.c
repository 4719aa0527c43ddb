/* Waiting as a blocking call of the kernel's would, for more than one descriptor.
 *
 * A wait for several descriptors is never restarted after a signal as connect(2) and accept(2) are (signal(7)), and a
 * signal that comes just before it would go unnoticed.  So signals stay out, a signalfd tells that some are pending, and
 * whether their handlers were installed with SA_RESTART is looked up before they are let in. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <time.h>

#include "preload.h"

enum { AT_ONCE_MS = 200 };

/* Whether one of the signals that wait to be let in would end the call with EINTR. */
static bool would_interrupt(const struct call *call, bool timed)
{
    sigset_t pending;

    sigpending(&pending);
    for (int number = 1; number <= SIGRTMAX; number++) {
        struct sigaction action;

        if (sigismember(&pending, number) != 1 || sigismember(&call->mask, number) == 1 ||
            sigaction(number, NULL, &action))
            continue;
        if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN && (timed || !(action.sa_flags & SA_RESTART)))
            return true;
    }
    return false;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int signals_of(const struct call *call)
{
    sigset_t awaited;

    sigfillset(&awaited);
    for (int number = 1; number <= SIGRTMAX; number++)
        if (sigismember(&call->mask, number) == 1)
            sigdelset(&awaited, number);
    return signalfd(-1, &awaited, SFD_CLOEXEC);
}

static int wait_with(const struct call *call, const struct waiting *waiting, int signals)
{
    int64_t until_ms = waiting->limit_ms < 0 ? 0 : now_ms() + waiting->limit_ms;
    struct pollfd looked[] = {
        {.fd = waiting->fd, .events = POLLIN}, {.fd = waiting->lifeline}, {.fd = signals, .events = POLLIN}};

    for (;;) {
        int64_t left_ms = waiting->limit_ms < 0 ? -1 : until_ms - now_ms();
        int ready = poll(looked, 3, waiting->limit_ms >= 0 && left_ms < 0 ? 0 : (int)left_ms);
        bool interrupted;

        if (ready == 0)
            return EAGAIN;
        if (ready < 0 && errno != EINTR)
            return errno;
        if (ready < 0)
            continue;
        if (looked[0].revents)
            return 0;
        if (looked[1].revents)
            return ENOTCONN;
        interrupted = would_interrupt(call, waiting->limit_ms >= 0);
        call_let_signals_in(call);
        call_keep_signals_out(NULL);
        if (interrupted && waiting->interruptible)
            return EINTR;
    }
}

/* For a request that the daemon answers at once.  Should it not, because it is stopped or the machine is, signals without
 * a handler are let in: they end or stop the program, and no handler can meet the locks that are held. */
void wait_for_answer(const struct call *call, int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLIN};
    sigset_t kept_out;

    if (poll(&look, 1, AT_ONCE_MS) != 0)
        return;
    sigfillset(&kept_out);
    for (int number = 1; number <= SIGRTMAX; number++) {
        struct sigaction action;

        if (sigismember(&call->mask, number) != 1 && sigaction(number, NULL, &action) == 0 &&
            action.sa_handler == SIG_DFL)
            sigdelset(&kept_out, number);
    }
    pthread_sigmask(SIG_SETMASK, &kept_out, NULL);
    while (poll(&look, 1, -1) < 0 && errno == EINTR)
        ;
    call_keep_signals_out(NULL);
}

int wait_readable(const struct call *call, const struct waiting *waiting)
{
    struct pollfd look = {.fd = waiting->fd, .events = POLLIN};
    int signals, code;

    if (poll(&look, 1, 0) > 0)
        return 0;
    signals = signals_of(call);
    if (signals < 0 && waiting->interruptible)
        return errno;
    code = wait_with(call, waiting, signals);
    sys_close(signals);
    return code;
}
