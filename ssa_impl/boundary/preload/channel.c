/* One connection to the daemon, for one secure socket: ssa_impl/control. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "preload.h"

enum {
    LOWEST_FD = 1024, /* numbers below are the application's: select(2) can use no others */
    LARGE_BYTES = 64 * 1024,
    SEND_BUFFER_BYTES = 212992, /* the kernel doubles it: one message of the largest size fits */
    MOST_FDS = 4,
    CLAIMS = 5,
    PAUSE_NS = 2000000,
};

static struct sockaddr_un daemon_address = {.sun_family = AF_UNIX};
static bool daemon_has_address;
static char daemon_directory[sizeof daemon_address.sun_path + 4];
static bool directory_is_certain; /* after the first dial */

/* The same places as ssa_impl/control/place.py. */
void channel_prepare(void)
{
    const char *path = getenv("SSAD_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");
    size_t room = sizeof daemon_address.sun_path;
    int length;

    if (path != NULL && *path != '\0')
        length = snprintf(daemon_address.sun_path, room, "%s", path);
    else if (geteuid() != 0 && runtime != NULL && *runtime != '\0')
        length = snprintf(daemon_address.sun_path, room, "%s/ssad/control.sock", runtime);
    else
        length = snprintf(daemon_address.sun_path, room, "/run/ssad/control.sock");
    daemon_has_address = length > 0 && (size_t)length < room;
    snprintf(daemon_directory, sizeof daemon_directory, "%s.d/", daemon_address.sun_path);
}

static int move_up(int fd)
{
    struct rlimit limit;
    int lowest = LOWEST_FD, moved;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 2 * LOWEST_FD)
        lowest = (int)limit.rlim_cur / 2;
    if (fd >= lowest || (moved = fcntl(fd, F_DUPFD_CLOEXEC, lowest)) < 0)
        return fd; /* high enough, or no room up there */
    sys_close(fd);
    return moved;
}

bool channel_adopt(struct channel *channel, int fd)
{
    channel->fd = move_up(fd);
    channel->inode = socket_inode(channel->fd);
    return channel->inode != 0;
}

/* The daemon's sockets are in PATH.d, where PATH is what the daemon itself calls its place. */
static void learn_directory(int fd)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = sizeof name - 1; /* so that the path ends with a NUL */

    if (directory_is_certain || syscall(SYS_getpeername, fd, &name, &size) != 0)
        return;
    snprintf(daemon_directory, sizeof daemon_directory, "%s.d/", name.sun_path);
    directory_is_certain = true;
}

int channel_dial(struct channel *channel)
{
    int fd, error = ENOTCONN;

    channel->fd = -1;
    if (!daemon_has_address)
        return ENOTCONN;
    fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (syscall(SYS_connect, fd, &daemon_address, sizeof daemon_address) == 0) {
        learn_directory(fd);
        channel_adopt(channel, fd);
        return 0;
    }
    sys_close(fd);
    return error;
}

bool channel_is_open(const struct channel *channel)
{
    return channel->fd >= 0 && socket_inode(channel->fd) == channel->inode;
}

bool channel_has_news(const struct channel *channel)
{
    struct pollfd look = {.fd = channel->fd, .events = POLLIN};

    return poll(&look, 1, 0) > 0;
}

void channel_close(struct channel *channel)
{
    if (channel_is_open(channel))
        sys_close(channel->fd);
    channel->fd = -1;
}

bool channel_send(const struct channel *channel, uint32_t number, const struct request *request)
{
    struct header header = {number, (uint16_t)request->kind, request->flag, request->first, request->second};
    struct iovec parts[2] = {{&header, sizeof header}, {(void *)request->value, request->length}};
    union {
        char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
        struct cmsghdr first;
    } control;
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    long sent;

    if (request->fd_count > 0) {
        size_t size = request->fd_count * sizeof(int);

        memset(&control, 0, sizeof control);
        control.first.cmsg_level = SOL_SOCKET;
        control.first.cmsg_type = SCM_RIGHTS;
        control.first.cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(&control.first), request->fds, size);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(size);
    }
    if (request->length > LARGE_BYTES) {
        int size = SEND_BUFFER_BYTES;

        syscall(SYS_setsockopt, channel->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    do
        sent = syscall(SYS_sendmsg, channel->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

static void close_descriptors(struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        size_t size = part->cmsg_len - CMSG_LEN(0);

        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
            for (size_t at = 0; at + sizeof(int) <= size; at += sizeof(int)) {
                int fd;

                memcpy(&fd, CMSG_DATA(part) + at, sizeof fd);
                sys_close(fd);
            }
    }
}

ssize_t channel_receive(const struct channel *channel, struct header *header, void *room, size_t size)
{
    struct iovec parts[2] = {{header, sizeof *header}, {room, size}};
    union {
        char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
        struct cmsghdr first;
    } control;
    struct msghdr message = {
        .msg_iov = parts, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
    long got = syscall(SYS_recvmsg, channel->fd, &message, MSG_CMSG_CLOEXEC | MSG_TRUNC);

    if (got < 0 && errno == EINTR)
        return -1;
    if (got > 0)
        close_descriptors(&message); /* a daemon's end to keep: for boundaries that watch, not for this one */
    if (got < (long)sizeof *header) {
        errno = ENOTCONN;
        return -1;
    }
    return got - (long)sizeof *header;
}

/* The first request on a new channel: its errno, or GONE. */
static int ask_first(const struct channel *channel, const struct call *call, const struct request *request)
{
    struct header header;

    if (!channel_send(channel, 1, request))
        return GONE;
    for (;;) {
        wait_for_answer(call, channel->fd);
        if (channel_receive(channel, &header, NULL, 0) >= 0) {
            if (header.kind == REPLY && header.request == 1)
                return header.first;
        } else if (errno != EINTR)
            return GONE;
    }
}

static int claim_once(struct channel *channel, const struct call *call)
{
    struct request request = {.kind = CLAIM, .fds = {call->fd}, .fd_count = 1};
    int code;

    if (channel_dial(channel) != 0)
        return GONE;
    code = ask_first(channel, call, &request);
    if (code != 0)
        channel_close(channel);
    return code;
}

/* What certainly was the daemon's may be claimed by a child before the daemon has read the parent's introduction. */
int channel_claim(struct channel *channel, const struct call *call)
{
    static const struct timespec pause = {.tv_nsec = PAUSE_NS};
    int code = claim_once(channel, call);

    for (int attempt = 1; code == ENOTSOCK && attempt < CLAIMS && channel_origin(call->fd) == ORIGIN_DAEMON; attempt++) {
        nanosleep(&pause, NULL);
        code = claim_once(channel, call);
    }
    return code;
}

struct request hello(int family, int fd)
{
    return (struct request){.kind = HELLO, .first = family, .second = getpid(), .fds = {fd}, .fd_count = 1};
}

int channel_hello(struct channel *channel, const struct call *call, int family)
{
    struct request request = hello(family, call->fd);
    int code = channel_dial(channel);

    if (code != 0)
        return code;
    code = ask_first(channel, call, &request);
    if (code != 0)
        channel_close(channel);
    return code == GONE ? ENOTCONN : code;
}

/* -- what the names of a unix socket say: connected secure sockets have a peer, accepted and listening ones a name of
 * their own, in the daemon's private directory; those that are not connected, and upgraded ones, have none at all. */

static enum origin origin_of(long failed, const struct sockaddr_un *name, socklen_t size)
{
    size_t length = strlen(daemon_directory), room = size - offsetof(struct sockaddr_un, sun_path);

    if (failed != 0 || size <= offsetof(struct sockaddr_un, sun_path))
        return ORIGIN_UNKNOWN;
    if (room > length && memcmp(name->sun_path, daemon_directory, length) == 0)
        return ORIGIN_DAEMON;
    return directory_is_certain ? ORIGIN_FOREIGN : ORIGIN_UNKNOWN;
}

enum origin channel_origin(int fd)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = sizeof name;
    int error = errno;
    long failed = syscall(SYS_getpeername, fd, &name, &size);
    enum origin origin = origin_of(failed, &name, size);

    if (origin == ORIGIN_UNKNOWN) {
        size = sizeof name;
        failed = syscall(SYS_getsockname, fd, &name, &size);
        origin = origin_of(failed, &name, size);
    }
    errno = error;
    return origin;
}
