/* Requests and their replies. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload.h"

int gone_code(const struct call *call)
{
    return call->entry->connecting || is_connected(call->fd) ? ECONNRESET : ENOTCONN;
}

static void hang_up(struct entry *entry)
{
    channel_close(&entry->channel);
    entry->dead = true;
}

/* Under the entry's lock.  A channel that the application closed by mistake, or that is the parent's, is claimed anew. */
static bool has_channel(struct call *call)
{
    struct entry *entry = call->entry;

    if (entry->dead)
        return false;
    if (channel_is_open(&entry->channel))
        return true;
    if (channel_claim(&entry->channel, call) == 0)
        return true;
    entry->channel.fd = -1;
    entry->dead = true;
    return false;
}

/* Wait for the reply with this number; keep that of a connect of `pending`, whose lock is held, for whoever asks next. */
static int take_reply(const struct call *call, const struct channel *channel, uint32_t number, struct reply *reply,
                      struct entry *pending)
{
    struct header header;

    for (;;) {
        ssize_t length;

        wait_for_answer(call, channel->fd);
        length = channel_receive(channel, &header, reply ? reply->room : NULL, reply ? reply->size : 0);
        if (length < 0) {
            if (errno == EINTR)
                continue;
            return GONE;
        }
        if (header.kind != REPLY)
            continue;
        if (header.request == number) {
            if (reply)
                reply->length = (size_t)length;
            return header.first;
        }
        if (pending != NULL && pending->connecting != 0 && header.request == pending->connecting) {
            pending->connecting = 0;
            pending->has_result = true;
            pending->result = header.first;
        }
    }
}

/* Another thread waits for a connect, and reads the entry's channel alone. */
static int ask_aside(struct call *call, const struct request *request, struct reply *reply)
{
    struct channel aside;
    int code = channel_claim(&aside, call);

    if (code != 0)
        return GONE;
    code = channel_send(&aside, 2, request) ? take_reply(call, &aside, 2, reply, NULL) : GONE;
    channel_close(&aside);
    return code;
}

int ask(struct call *call, const struct request *request, struct reply *reply)
{
    struct entry *entry = call->entry;
    int code = GONE;

    pthread_mutex_lock(&entry->lock);
    if (entry->waiting) {
        pthread_mutex_unlock(&entry->lock);
        return ask_aside(call, request, reply);
    }
    if (has_channel(call)) {
        uint32_t number = ++entry->number;

        if (channel_send(&entry->channel, number, request))
            code = take_reply(call, &entry->channel, number, reply, entry);
        if (code == GONE)
            hang_up(entry);
    }
    pthread_mutex_unlock(&entry->lock);
    return code;
}

int answer(struct call *call, const struct request *request, struct reply *reply)
{
    int code = ask(call, request, reply);

    return code == GONE ? gone_code(call) : code;
}

/* -- connect and upgrade: the daemon takes its time, and other calls go on meanwhile */

/* Under the entry's lock, which it releases.  Returns the daemon's errno or GONE; or the wait's own, EINTR above all, with
 * everything still under way. */
static int wait_for_result(struct call *call, bool interruptible)
{
    struct entry *entry = call->entry;
    struct waiting waiting = {entry->channel.fd, -1, -1, interruptible};
    struct header header = {0};
    bool is_over = false;
    int code;

    entry->waiting = true;
    entry->waiter = (pid_t)syscall(SYS_gettid);
    pthread_mutex_unlock(&entry->lock);
    while (!is_over && (code = wait_readable(call, &waiting)) == 0) {
        if (channel_receive(&entry->channel, &header, NULL, 0) < 0)
            header.first = GONE;
        else if (header.kind != REPLY || header.request != entry->connecting)
            continue;
        is_over = true;
    }
    pthread_mutex_lock(&entry->lock);
    entry->waiting = false;
    if (is_over) {
        entry->connecting = 0;
        code = header.first;
    }
    if (code == GONE)
        hang_up(entry);
    pthread_mutex_unlock(&entry->lock);
    return code;
}

int begin_long(struct call *call, const struct request *request)
{
    struct entry *entry = call->entry;
    int code = 0;

    pthread_mutex_lock(&entry->lock);
    if (entry->connecting != 0)
        code = EALREADY;
    else if (!has_channel(call))
        code = gone_code(call);
    else if (channel_send(&entry->channel, ++entry->number, request))
        entry->connecting = entry->number;
    else {
        hang_up(entry);
        code = gone_code(call);
    }
    pthread_mutex_unlock(&entry->lock);
    return code;
}

/* A handler closes the socket of the connect that it interrupted, perhaps after it left the call with siglongjmp(3): then
 * nobody will ever come back for the reply.  The daemon is told to give up by the end of the channel. */
void abandon_long(struct call *call)
{
    struct entry *entry = call->entry;

    pthread_mutex_lock(&entry->lock);
    if (entry->waiting && entry->waiter == (pid_t)syscall(SYS_gettid) && channel_is_open(&entry->channel))
        syscall(SYS_shutdown, entry->channel.fd, SHUT_RDWR);
    pthread_mutex_unlock(&entry->lock);
}

int end_long(struct call *call, bool interruptible)
{
    struct entry *entry = call->entry;
    int code;

    pthread_mutex_lock(&entry->lock);
    if (entry->has_result) { /* it came while somebody else read the channel */
        entry->has_result = false;
        code = entry->result;
        pthread_mutex_unlock(&entry->lock);
        return code;
    }
    if (entry->waiting || entry->connecting == 0) {
        pthread_mutex_unlock(&entry->lock);
        return EALREADY;
    }
    code = wait_for_result(call, interruptible);
    return code == GONE ? ECONNRESET : code;
}
