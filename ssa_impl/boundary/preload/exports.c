/* The functions in front of libc's.  Calls on descriptors that are no secure sockets go on in the first line. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload.h"

#define EXPORT __attribute__((visibility("default")))

int accept4(int, struct sockaddr *, socklen_t *, int);
ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);

/* A library loaded with RTLD_DEEPBIND (PHP 8.2 loads its extensions so) would bind to libc past us.  The call must stay in
 * tail position: the loader takes its caller's RUNPATH. */
EXPORT void *dlopen(const char *file, int mode)
{
#ifdef RTLD_DEEPBIND
    mode &= ~RTLD_DEEPBIND;
#endif
    return real()->dlopen(file, mode);
}

EXPORT int socket(int family, int type, int protocol)
{
    if (!is_secure_kind(family, type, protocol))
        return real()->socket(family, type, protocol);
    return secure_socket(family, type);
}

EXPORT int close(int fd)
{
    if (!table_marks(fd))
        return real()->close(fd);
    return secure_close(fd);
}

EXPORT int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct call call;

    if (!enter(&call, fd))
        return real()->connect(fd, address, length);
    return call_end(&call, secure_connect(&call, address, length));
}

EXPORT int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    struct call call;

    if (!enter(&call, fd))
        return real()->bind(fd, address, length);
    return call_end(&call, secure_bind(&call, address, length));
}

EXPORT int listen(int fd, int backlog)
{
    struct call call;

    if (!enter(&call, fd))
        return real()->listen(fd, backlog);
    return call_end(&call, secure_listen(&call, backlog));
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    struct call call;
    int accepted;

    if (!enter(&call, fd))
        return real()->accept4(fd, address, length, flags);
    return call_end(&call, secure_accept(&call, address, length, flags, &accepted)) ? -1 : accepted;
}

EXPORT int accept(int fd, struct sockaddr *address, socklen_t *length)
{
    struct call call;
    int accepted;

    if (!enter(&call, fd))
        return real()->accept(fd, address, length);
    return call_end(&call, secure_accept(&call, address, length, 0, &accepted)) ? -1 : accepted;
}

EXPORT int getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    struct call call;

    if (!enter(&call, fd))
        return real()->getsockname(fd, address, length);
    return call_end(&call, secure_get_name(&call, false, address, length));
}

EXPORT int getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
    struct call call;

    if (!enter(&call, fd))
        return real()->getpeername(fd, address, length);
    return call_end(&call, secure_get_name(&call, true, address, length));
}

/* Once both sides are shut down, only a socket with a channel is known to the daemon still, and can say how it ended. */
EXPORT int shutdown(int fd, int how)
{
    struct call call;

    if (enter(&call, fd))
        call_end(&call, 0);
    return real()->shutdown(fd, how);
}

EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    struct call call;

    if (!enter_option(&call, fd, level, name, true))
        return real()->setsockopt(fd, level, name, value, length);
    return call_end(&call, secure_set_option(&call, level, name, value, length));
}

EXPORT int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    struct call call;

    if (!enter_option(&call, fd, level, name, false))
        return real()->getsockopt(fd, level, name, value, length);
    return call_end(&call, secure_get_option(&call, level, name, value, length));
}

/* -- reads: the kernel's own, and a look at what 0 means */

static ssize_t checked(int fd, ssize_t got, size_t room)
{
    return __builtin_expect(got != 0 || room == 0, 1) ? got : after_end(fd);
}

static size_t sum(const struct iovec *parts, size_t count)
{
    size_t total = 0;

    while (count-- > 0)
        total += parts[count].iov_len;
    return total;
}

EXPORT ssize_t read(int fd, void *buffer, size_t size)
{
    return checked(fd, real()->read(fd, buffer, size), size);
}

EXPORT ssize_t readv(int fd, const struct iovec *parts, int count)
{
    ssize_t got = real()->readv(fd, parts, count);

    return got ? got : checked(fd, got, sum(parts, (size_t)count));
}

EXPORT ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    return checked(fd, real()->recv(fd, buffer, size, flags), size);
}

EXPORT ssize_t recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *address, socklen_t *length)
{
    return checked(fd, real()->recvfrom(fd, buffer, size, flags, address, length), size);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t got = real()->recvmsg(fd, message, flags);

    return got ? got : checked(fd, got, sum(message->msg_iov, message->msg_iovlen));
}

EXPORT ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room)
{
    return checked(fd, real()->__read_chk(fd, buffer, size, room), size);
}

EXPORT ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags)
{
    return checked(fd, real()->__recv_chk(fd, buffer, size, room, flags), size);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags, struct sockaddr *address,
                              socklen_t *length)
{
    return checked(fd, real()->__recvfrom_chk(fd, buffer, size, room, flags, address, length), size);
}
