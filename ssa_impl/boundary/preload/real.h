/* The functions that this library stands in front of: the next ones of the same name in the search order. */
#ifndef SSA_REAL_H
#define SSA_REAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#define REAL_CALLS(X)                                                                    \
    X(void *, dlopen, (const char *, int))                                               \
    X(int, socket, (int, int, int))                                                      \
    X(int, close, (int))                                                                 \
    X(int, connect, (int, const struct sockaddr *, socklen_t))                           \
    X(int, bind, (int, const struct sockaddr *, socklen_t))                              \
    X(int, listen, (int, int))                                                           \
    X(int, accept, (int, struct sockaddr *, socklen_t *))                                \
    X(int, accept4, (int, struct sockaddr *, socklen_t *, int))                          \
    X(int, getsockname, (int, struct sockaddr *, socklen_t *))                           \
    X(int, getpeername, (int, struct sockaddr *, socklen_t *))                           \
    X(int, shutdown, (int, int))                                                         \
    X(int, setsockopt, (int, int, int, const void *, socklen_t))                         \
    X(int, getsockopt, (int, int, int, void *, socklen_t *))                             \
    X(ssize_t, read, (int, void *, size_t))                                              \
    X(ssize_t, readv, (int, const struct iovec *, int))                                  \
    X(ssize_t, recv, (int, void *, size_t, int))                                         \
    X(ssize_t, recvfrom, (int, void *, size_t, int, struct sockaddr *, socklen_t *))     \
    X(ssize_t, recvmsg, (int, struct msghdr *, int))                                     \
    X(ssize_t, __read_chk, (int, void *, size_t, size_t))                                \
    X(ssize_t, __recv_chk, (int, void *, size_t, size_t, int))                           \
    X(ssize_t, __recvfrom_chk, (int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *))

struct real_calls {
#define MEMBER(result, name, parameters) result (*name) parameters;
    REAL_CALLS(MEMBER)
#undef MEMBER
    bool found;
};

extern struct real_calls real_calls;
void find_real_calls(void);

static inline const struct real_calls *real(void)
{
    if (__builtin_expect(!__atomic_load_n(&real_calls.found, __ATOMIC_ACQUIRE), 0))
        find_real_calls(); /* another library's constructor calls us before ours has run */
    return &real_calls;
}

#endif
