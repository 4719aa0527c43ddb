/* Waiting as a blocking call of the kernel's would, for more than one descriptor.
 *
 * Signals come in while it waits, and only then: were they kept out, the kernel would give those for the process to
 * another thread, and this one would wait on.  ppoll(2) lets them in and waits in one step, so that none goes unnoticed;
 * but it is never restarted as connect(2) and accept(2) are (signal(7)), and does not say which signal it was.  So the
 * call ends with EINTR when a handler without SA_RESTART was there to run, and else waits on.
 *
 * A signal between the call and its wait stays pending and ends the wait, where TCP's call would not even notice: its
 * handler would run before the call.  Only where another thread lets the same signal in can the kernel give it to that
 * one meanwhile, and then this thread waits on, as TCP's does when the signal comes just before the call.  Every system
 * call between the two makes that likelier; hence as few as there can be.
 *
 * Whatever else waits, with signals kept out, ends by itself: a request (wait_for_answer lets in what ends the program),
 * the greeting of a peer, which the daemon sends as it connects (ten seconds at most), a channel's send (at most one
 * message and its introduction are under way, and there is room for both), the pauses of bind and claim (200 ms, 10 ms),
 * and locks, which are held for a request.  The exception is connecting to a daemon that is stopped and whose queue is
 * full.  accept4 itself waits where another process was faster: with signals let in, as the kernel's. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <time.h>

#include "preload.h"

enum { AT_ONCE_MS = 200 };

static bool interrupts(const struct call *call, int number)
{
    struct sigaction action;

    return sigismember(&call->mask, number) != 1 && sigaction(number, NULL, &action) == 0 &&
           action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN && !(action.sa_flags & SA_RESTART);
}

/* It begins with the signal that was found last, so that a program's second wait asks once. */
static bool may_interrupt(const struct call *call)
{
    static int found = SIGINT;

    for (int number = __atomic_load_n(&found, __ATOMIC_RELAXED), left = SIGRTMAX; left > 0; left--) {
        if (interrupts(call, number)) {
            __atomic_store_n(&found, number, __ATOMIC_RELAXED);
            return true;
        }
        number = number % SIGRTMAX + 1;
    }
    return false;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int wait_with(const struct call *call, const struct waiting *waiting)
{
    bool timed = waiting->limit_ms >= 0;
    int64_t until_ms = timed ? now_ms() + waiting->limit_ms : 0;
    struct pollfd looked[] = {{.fd = waiting->fd, .events = POLLIN}, {.fd = waiting->lifeline}};

    for (;;) {
        bool interrupts = waiting->interruptible && (timed || may_interrupt(call));
        int64_t left_ms = timed ? until_ms - now_ms() : 0;
        struct timespec left = {0};
        int ready;

        if (left_ms > 0)
            left = (struct timespec){.tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000};
        ready = ppoll(looked, 2, timed ? &left : NULL, &call->mask);
        if (ready == 0)
            return EAGAIN;
        if (ready > 0)
            return looked[0].revents ? 0 : ENOTCONN;
        if (errno != EINTR || interrupts)
            return errno;
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

    return poll(&look, 1, 0) > 0 ? 0 : wait_with(call, waiting);
}
