/* connect, and what is left of one that a signal broke off: the daemon goes on, and the next connect, or SO_ERROR, takes
 * up what it comes to. */
#define _GNU_SOURCE
#include <errno.h>

#include "preload.h"

static int finish(struct call *call)
{
    int code = end_long(call, true);

    if (code == 0)
        call->entry->established = true;
    return code;
}

static bool is_under_way(struct entry *entry, bool *answered)
{
    bool under_way;

    pthread_mutex_lock(&entry->lock);
    under_way = entry->connecting != 0 || entry->has_result;
    *answered = entry->has_result || (entry->connecting != 0 && channel_has_news(&entry->channel));
    pthread_mutex_unlock(&entry->lock);
    return under_way;
}

int secure_connect(struct call *call, const void *address, socklen_t length)
{
    char copy[MAX_SOCKADDR_BYTES];
    bool blocking = is_blocking(call->fd), answered;
    struct request request = {
        .kind = CONNECT, .flag = blocking, .value = copy, .length = length, .fds = {call->fd}, .fd_count = 1};
    int code;

    if (is_under_way(call->entry, &answered))
        return blocking || answered ? finish(call) : EALREADY;
    if (length > sizeof copy)
        return EINVAL;
    if (!copy_in(copy, address, length))
        return EFAULT;
    if (!blocking)
        return answer(call, &request, NULL);
    code = begin_long(call, &request);
    return code ? code : finish(call);
}

/* For SO_ERROR: the errno of a connect that was broken off, when there is one to tell. */
bool take_connect_result(struct call *call, int *result)
{
    bool answered;

    if (!is_under_way(call->entry, &answered))
        return false;
    *result = end_long(call, false);
    if (*result == 0)
        call->entry->established = true;
    return *result != EALREADY; /* somebody else still waits for it */
}
