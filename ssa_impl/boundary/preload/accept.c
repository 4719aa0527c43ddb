/* accept: the kernel's own on the unix listener, then the greeting (ssa_impl/control/greeting.py) taken off the
 * connection.  A blocking one also ends when the daemon does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "preload.h"

enum { GREETING_MS = 10000 };

struct greeting {
    uint16_t length, zero;
    unsigned char address[28];
};
_Static_assert(sizeof(struct greeting) == 32, "a greeting has 32 bytes");

/* SO_RCVTIMEO as milliseconds, -1 for none. */
static int timeout_ms(int fd)
{
    struct timeval limit = {0};
    socklen_t size = sizeof limit;

    if (syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &size) || (limit.tv_sec == 0 && limit.tv_usec == 0))
        return -1;
    return limit.tv_sec > 1000000 ? 1000000000 : (int)(limit.tv_sec * 1000 + (limit.tv_usec + 999) / 1000);
}

/* The descriptor that hangs up when the daemon does, or -1 when it has done so already, or was never heard of. */
static int lifeline(const struct entry *entry)
{
    const struct channel *channel = channel_is_open(&entry->channel) ? &entry->channel : &entry->inherited;

    return channel_is_open(channel) ? channel->fd : -1;
}

static bool daemon_is_gone(const struct entry *entry)
{
    struct pollfd look = {.fd = lifeline(entry)};

    return entry->dead || (look.fd >= 0 && poll(&look, 1, 0) > 0);
}

static int wait_for_peer(const struct call *call)
{
    struct waiting waiting = {
        .fd = call->fd,
        .lifeline = lifeline(call->entry),
        .limit_ms = timeout_ms(call->fd),
        .interruptible = true,
    };

    return wait_readable(call, &waiting);
}

/* Take exactly the greeting: what follows is the peer's.  The daemon sends it right after connecting.  Returns 0, EMFILE
 * when there is no descriptor left for the channel, or GONE. */
static int take_greeting(int accepted, struct greeting *greeting, struct channel *channel)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr first;
    } control;
    struct iovec part = {greeting, sizeof *greeting};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct pollfd look = {.fd = accepted, .events = POLLIN};
    long got = 0;
    int fd;

    if (poll(&look, 1, GREETING_MS) == 1)
        got = syscall(SYS_recvmsg, accepted, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC);
    if (got <= 0 || message.msg_controllen < CMSG_LEN(sizeof fd) || control.first.cmsg_level != SOL_SOCKET ||
        control.first.cmsg_type != SCM_RIGHTS)
        return got > 0 && message.msg_flags & MSG_CTRUNC ? EMFILE : GONE;
    memcpy(&fd, CMSG_DATA(&control.first), sizeof fd);
    channel_adopt(channel, fd);
    if (got == (long)sizeof *greeting && greeting->zero == 0 && greeting->length <= sizeof greeting->address)
        return 0;
    channel_close(channel);
    return GONE;
}

/* Tell the daemon which descriptor it is, so that a child can claim it.  Nobody waits for the answer: under load that
 * would hold up the next accept. */
static void introduce(const struct channel *channel, int fd)
{
    struct request request = hello(0, fd);

    channel_send(channel, 1, &request);
}

static int accept_one(struct call *call, int flags)
{
    bool listens = is_listening(call->fd); /* if not, the kernel knows the errno */
    int code = 0, fd;

    if (listens && call->entry->dead)
        code = ENOTCONN;
    else if (listens && is_blocking(call->fd))
        code = wait_for_peer(call);
    if (code != 0) {
        errno = code;
        return -1;
    }
    call_let_signals_in(call); /* another process may have been faster: then this blocks */
    fd = (int)syscall(SYS_accept4, call->fd, NULL, NULL, flags & SOCK_CLOEXEC);
    code = errno;
    call_keep_signals_out(NULL);
    errno = code;
    return fd;
}

static int tell_address(const struct greeting *greeting, void *address, socklen_t *length, socklen_t size)
{
    socklen_t needed = greeting->length;

    if (address == NULL)
        return 0;
    if (!copy_out(address, greeting->address, size < needed ? size : needed) ||
        !copy_out(length, &needed, sizeof needed))
        return EFAULT;
    return 0;
}

int secure_accept(struct call *call, void *address, socklen_t *length, int flags, int *accepted)
{
    struct greeting greeting;
    struct channel channel;
    struct entry *entry;
    socklen_t size = 0;
    int code, fd;

    if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
        return EINVAL;
    if (address != NULL && !copy_in(&size, length, sizeof size))
        return EFAULT;
    if ((int)size < 0)
        return EINVAL;
    table_sweep_if_due();
    for (;;) {
        fd = accept_one(call, flags);
        if (fd < 0)
            return errno == EAGAIN && daemon_is_gone(call->entry) ? ENOTCONN : errno;
        code = take_greeting(fd, &greeting, &channel);
        if (code == 0)
            break;
        sys_close(fd);
        if (code != GONE)
            return code;
        /* its worker died at this moment: take the next one */
    }
    code = tell_address(&greeting, address, length, size);
    introduce(&channel, fd);
    entry = table_add(socket_inode(fd), &channel);
    if (code == 0 && entry == NULL)
        code = ENOMEM;
    if (code == 0 && (flags & SOCK_NONBLOCK))
        fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    if (entry != NULL) {
        entry->established = true;
        if (code != 0)
            table_drop(entry);
        entry_put(entry);
    }
    if (code != 0) {
        sys_close(fd);
        return code;
    }
    table_mark(fd);
    *accepted = fd;
    return 0;
}
