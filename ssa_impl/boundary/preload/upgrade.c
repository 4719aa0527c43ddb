/* TCP_UPGRADE_TLS: a unix socket takes the place of the connected TCP socket, under every number that the process has
 * for it and in every epoll set. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload.h"

enum { MOST_REGISTRATIONS = 256 };

struct registration {
    int set, fd;
    struct epoll_event event;
};

struct exchange {
    ino_t inode; /* of the TCP socket */
    int replacement;
    int moved;
    struct registration registrations[MOST_REGISTRATIONS];
};

/* A line of /proc/self/fdinfo/EPOLL (proc(5)). */
static void take_out(struct exchange *exchange, int set, const char *line)
{
    struct registration *next = &exchange->registrations[exchange->moved];
    unsigned long long data;
    unsigned events;
    int fd;

    if (exchange->moved == MOST_REGISTRATIONS || sscanf(line, "tfd: %d events: %x data: %llx", &fd, &events, &data) != 3)
        return;
    if (socket_inode(fd) != exchange->inode || epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL))
        return;
    next->set = set;
    next->fd = fd;
    next->event.events = events;
    next->event.data.u64 = data;
    exchange->moved++;
}

static bool is_epoll(int fd)
{
    static const char wanted[] = "anon_inode:[eventpoll]";
    char path[40], target[sizeof wanted];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, target, sizeof target) == sizeof wanted - 1 &&
           memcmp(target, wanted, sizeof wanted - 1) == 0;
}

static void take_out_of(int set, void *context)
{
    char path[40], line[256];
    FILE *information;

    if (!is_epoll(set))
        return;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", set);
    information = fopen(path, "re");
    if (information == NULL)
        return;
    while (fgets(line, sizeof line, information) != NULL)
        take_out(context, set, line);
    fclose(information);
}

static void put_back(const struct exchange *exchange)
{
    for (int index = 0; index < exchange->moved; index++) {
        struct registration registration = exchange->registrations[index];

        epoll_ctl(registration.set, EPOLL_CTL_ADD, registration.fd, &registration.event);
    }
}

static void replace(int fd, void *context)
{
    struct exchange *exchange = context;
    int flags;

    if (socket_inode(fd) != exchange->inode)
        return;
    flags = fcntl(fd, F_GETFD);
    dup3(exchange->replacement, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
    table_mark(fd);
}

static void take_over(struct call *call, int replacement, bool blocking)
{
    struct exchange exchange = {.inode = call->entry->inode, .replacement = replacement};
    struct request request;

    if (!blocking)
        fcntl(replacement, F_SETFL, O_RDWR | O_NONBLOCK);
    each_descriptor(take_out_of, &exchange);
    if (!each_descriptor(replace, &exchange))
        replace(call->fd, &exchange); /* no /proc: then it is this number only */
    put_back(&exchange);
    call->entry->plain = false;
    table_rename(call->entry, socket_inode(replacement));
    request = hello(0, replacement);
    ask(call, &request, NULL); /* other processes know it by another inode now */
}

int upgrade(struct call *call, const void *hostname, size_t length)
{
    bool blocking = is_blocking(call->fd);
    struct request request = {.kind = UPGRADE, .flag = blocking, .value = hostname, .length = length};
    int pair[2], code;

    if (syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return errno;
    request.fds[0] = call->fd;
    request.fds[1] = pair[1];
    request.fds[2] = pair[0];
    request.fd_count = blocking ? 2 : 3;
    code = blocking ? begin_long(call, &request) : answer(call, &request, NULL);
    sys_close(pair[1]);
    if (blocking && code == 0)
        code = end_long(call, false);
    if (code == 0 || code == EINPROGRESS) {
        take_over(call, pair[0], blocking);
        call->entry->established = code == 0;
    } else if (code == ECONNRESET) { /* the daemon died half-way: nothing may go on in plain text */
        syscall(SYS_shutdown, call->fd, SHUT_RDWR);
    }
    sys_close(pair[0]);
    return code;
}
