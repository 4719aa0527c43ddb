/* What the kernel says about a descriptor; errno stays as it was. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload.h"

static int socket_fact(int fd, int name)
{
    int value = -1, error = errno;
    socklen_t size = sizeof value;

    if (syscall(SYS_getsockopt, fd, SOL_SOCKET, name, &value, &size))
        value = -1;
    errno = error;
    return value;
}

ino_t socket_inode(int fd)
{
    struct stat status;
    int error = errno;
    bool found = fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);

    errno = error;
    return found ? status.st_ino : 0;
}

bool is_unix_stream(int fd)
{
    return socket_fact(fd, SO_DOMAIN) == AF_UNIX && socket_fact(fd, SO_TYPE) == SOCK_STREAM;
}

bool is_connected(int fd)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    int error = errno;
    bool connected = syscall(SYS_getpeername, fd, &name, &size) == 0;

    errno = error;
    return connected;
}

bool is_listening(int fd)
{
    return socket_fact(fd, SO_ACCEPTCONN) == 1;
}

int wire_family(int fd)
{
    int family = socket_fact(fd, SO_DOMAIN);

    if (family != AF_INET && family != AF_INET6)
        return 0;
    return socket_fact(fd, SO_TYPE) == SOCK_STREAM ? family : 0;
}

bool is_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && !(flags & O_NONBLOCK);
}

/* getdents64(2) itself: opendir would call malloc, and close may be called in a signal handler. */
struct directory_entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

bool each_descriptor(void (*visit)(int fd, void *context), void *context)
{
    _Alignas(struct directory_entry) char buffer[2048];
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long got;

    if (directory < 0)
        return false;
    while ((got = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < got;) {
            struct directory_entry *entry = (void *)(buffer + at);
            int fd = atoi(entry->name);

            at += entry->length;
            if (entry->name[0] != '.' && fd != directory)
                visit(fd, context);
        }
    sys_close(directory);
    return got == 0;
}

struct search {
    ino_t inode;
    bool found;
};

static void compare(int fd, void *context)
{
    struct search *search = context;

    if (socket_inode(fd) == search->inode) {
        search->found = true;
        table_mark(fd);
    }
}

/* Whether the process still has the socket, under whatever number; the numbers found are marked. */
bool is_open_here(ino_t inode)
{
    struct search search = {inode, false};

    each_descriptor(compare, &search);
    return search.found;
}

long sys_close(int fd)
{
    int error = errno;
    long result = syscall(SYS_close, fd);

    errno = error;
    return result;
}
