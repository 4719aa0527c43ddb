/* Around each call: is it ours, signals out, errno as it was, and what a fork changes. */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "preload.h"
#include "routing.h"

static pid_t process;

static void after_fork(void)
{
    process = getpid();
    table_after_fork();
}

static void prepare(void)
{
    static bool prepared;

    if (prepared)
        return;
    prepared = true;
    process = getpid();
    channel_prepare();
    pthread_atfork(NULL, NULL, after_fork);
}

__attribute__((constructor)) static void load(void)
{
    find_real_calls();
    prepare();
}

bool is_own_process(void)
{
    return getpid() == process;
}

void call_keep_signals_out(sigset_t *before)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

void call_let_signals_in(const struct call *call)
{
    pthread_sigmask(SIG_SETMASK, &call->mask, NULL);
}

void call_begin(struct call *call, int fd)
{
    call->fd = fd;
    call->entry = NULL;
    call->error = errno;
    call_keep_signals_out(&call->mask);
    prepare();
    if (!is_own_process()) /* a child of clone(2) itself, which runs no handlers of pthread_atfork */
        after_fork();
}

int call_end(struct call *call, int code)
{
    if (call->entry != NULL)
        entry_put(call->entry);
    call_let_signals_in(call);
    errno = code ? code : call->error;
    return code ? -1 : 0;
}

/* Show a unix stream socket that nobody here knows to the daemon. */
static struct entry *claim(const struct call *call, ino_t inode)
{
    struct channel channel;
    struct entry *entry;
    int code = channel_origin(call->fd) == ORIGIN_FOREIGN ? ENOTSOCK : channel_claim(&channel, call);

    if (code != 0 && channel_origin(call->fd) != ORIGIN_DAEMON) {
        if (code != GONE)
            table_note_foreign(inode);
        return NULL;
    }
    entry = table_add(inode, &channel);
    if (entry != NULL && code != 0)
        entry->dead = true; /* it was a secure socket, and its daemon is gone */
    return entry;
}

static struct entry *find(const struct call *call)
{
    int fd = call->fd;
    ino_t inode = socket_inode(fd);
    struct entry *entry = inode == 0 ? NULL : table_get(inode);

    if (entry == NULL && inode != 0 && is_unix_stream(fd) && !table_knows_foreign(inode))
        entry = claim(call, inode);
    if (entry != NULL)
        table_mark(fd);
    else
        table_unmark(fd);
    return entry;
}

bool enter(struct call *call, int fd)
{
    if (!table_marks(fd) && !is_unix_stream(fd))
        return false;
    call_begin(call, fd);
    call->entry = find(call);
    if (call->entry != NULL && !call->entry->plain)
        return true;
    call_end(call, 0);
    return false;
}

/* A TCP socket gets a channel with its first TLS option, or with the upgrade itself. */
static bool enter_tcp(struct call *call, int fd, bool opens)
{
    struct channel channel;
    ino_t inode = socket_inode(fd);
    int family = wire_family(fd);

    if (family == 0)
        return false;
    call_begin(call, fd);
    call->entry = table_get(inode);
    if (call->entry == NULL && opens) {
        table_sweep_if_due();
        if (channel_hello(&channel, call, family) != 0)
            return true; /* without an entry: ENOTCONN */
        call->entry = table_add(inode, &channel);
        if (call->entry != NULL)
            call->entry->plain = true;
    }
    if (call->entry == NULL && !opens) {
        call_end(call, 0);
        return false;
    }
    table_mark(fd);
    return true;
}

bool enter_option(struct call *call, int fd, int level, int name, bool set)
{
    if (!is_routed(level, name))
        return false;
    if (enter(call, fd))
        return true;
    if (level != IPPROTO_TLS && !(set && level == IPPROTO_TCP && name == TCP_UPGRADE_TLS))
        return false;
    return enter_tcp(call, fd, set);
}
