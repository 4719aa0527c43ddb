/* socket, close, bind, listen and the names. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "preload.h"
#include "routing.h"

enum { TYPE_MASK = 0xf, BIND_ATTEMPTS = 20 };

static volatile bool has_closed; /* a socket that was not connected, since the last bind */

/* The same sockets as the seccomp filter's; all others are the kernel's to refuse. */
bool is_secure_kind(int family, int type, int protocol)
{
    return protocol == IPPROTO_TLS && (type & TYPE_MASK) == SOCK_STREAM && (family == AF_INET || family == AF_INET6);
}

static int open_socket(struct call *call, int family, int type)
{
    struct channel channel;
    int code;

    table_sweep_if_due();
    call->fd = (int)syscall(SYS_socket, AF_UNIX, type, 0);
    if (call->fd < 0)
        return errno;
    code = channel_hello(&channel, call, family);
    if (code == 0) {
        call->entry = table_add(socket_inode(call->fd), &channel);
        code = call->entry == NULL ? ENOMEM : 0;
    }
    if (code == 0)
        table_mark(call->fd);
    else
        sys_close(call->fd);
    return code;
}

int secure_socket(int family, int type)
{
    struct call call;
    int code;

    call_begin(&call, -1);
    code = open_socket(&call, family, type);
    return call_end(&call, code) ? -1 : call.fd;
}

/* A connection that is established lives without this process's channel; anything else must keep it for as long as the
 * process has the socket under some number. */
int secure_close(int fd)
{
    struct call call;
    ino_t inode;
    int result, error;

    if (!is_own_process())
        return real()->close(fd);
    call_begin(&call, fd);
    inode = socket_inode(fd);
    call.entry = inode == 0 ? NULL : table_get(inode);
    table_unmark(fd);
    result = real()->close(fd);
    error = result ? errno : 0;
    if (call.entry != NULL && (call.entry->established || !is_open_here(inode))) {
        has_closed = has_closed || !call.entry->established;
        abandon_long(&call);
        table_drop(call.entry);
    }
    return call_end(&call, error);
}

/* The address may be that of a listener which this process has just closed, and of which the daemon has not yet heard. */
int secure_bind(struct call *call, const void *address, socklen_t length)
{
    static const struct timespec pause = {.tv_nsec = 10000000};
    int code;
    char copy[MAX_SOCKADDR_BYTES];
    struct request request = {.kind = BIND, .value = copy, .length = length};

    if (length > sizeof copy)
        return EINVAL;
    if (!copy_in(copy, address, length))
        return EFAULT;
    code = answer(call, &request, NULL);
    for (int attempt = 0; code == EADDRINUSE && has_closed && attempt < BIND_ATTEMPTS; attempt++) {
        nanosleep(&pause, NULL);
        code = answer(call, &request, NULL);
    }
    has_closed = false;
    return code;
}

int secure_listen(struct call *call, int backlog)
{
    int length = backlog < 0 || backlog > SOMAXCONN ? SOMAXCONN : backlog;
    struct request request = {.kind = LISTEN, .first = length, .fds = {call->fd}, .fd_count = 1};

    return answer(call, &request, NULL);
}

int secure_get_name(struct call *call, bool peer, void *address, socklen_t *length)
{
    char name[MAX_SOCKADDR_BYTES];
    struct request request = {.kind = GET_NAME, .flag = peer};
    struct reply reply = {name, sizeof name, 0};
    socklen_t size, needed;
    int code;

    if (!copy_in(&size, length, sizeof size))
        return EFAULT;
    if ((int)size < 0)
        return EINVAL;
    code = answer(call, &request, &reply);
    if (code != 0)
        return code;
    if (peer)
        call->entry->established = true;
    needed = (socklen_t)reply.length;
    if (!copy_out(address, name, size < needed ? size : needed) || !copy_out(length, &needed, sizeof needed))
        return EFAULT;
    return 0;
}
