/* setsockopt and getsockopt on secure sockets. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "preload.h"
#include "routing.h"

bool is_routed(int level, int name)
{
    return HAS(ROUTED_LEVELS, level) || (level == SOL_SOCKET && HAS(ROUTED_SOCKET_NAMES, name));
}

static bool is_path(int level, int name, const struct room *value)
{
    static const char pem[] = "-----BEGIN ", prefix[] = "name:";

    if (level != IPPROTO_TLS || !HAS(PATH_OPTIONS, name))
        return false;
    if (HAS(KEY_OPTIONS, name) && value->size >= sizeof prefix - 1 &&
        memcmp(value->bytes, prefix, sizeof prefix - 1) == 0)
        return false; /* a key of the administrator's policy */
    return memmem(value->bytes, value->size, pem, sizeof pem - 1) == NULL;
}

static int set_option(struct call *call, int level, int name, const struct room *value)
{
    struct request request = {
        .kind = SET_OPTION, .first = level, .second = name, .value = value->bytes, .length = value->size};

    if (call->entry->plain && level == IPPROTO_TCP)
        return upgrade(call, value->bytes, value->size);
    if (is_path(level, name, value))
        return set_by_file(call, name, value->bytes, value->size);
    return answer(call, &request, NULL);
}

int secure_set_option(struct call *call, int level, int name, const void *value, socklen_t length)
{
    struct room room;
    int code;

    if (call->entry == NULL) /* a TCP socket, and no daemon that could make a TLS socket of it */
        return ENOTCONN;
    if (length > MAX_VALUE_BYTES)
        return EINVAL;
    if (!room_open(&room, length))
        return ENOMEM;
    code = copy_in(room.bytes, value, length) ? set_option(call, level, name, &room) : EFAULT;
    room_close(&room);
    return code;
}

/* A TLS value is never cut: ERANGE, and the length it needs. */
static int give(int level, const struct reply *reply, void *value, socklen_t *length, socklen_t size)
{
    socklen_t given = reply->length < size ? (socklen_t)reply->length : size;

    if (level == IPPROTO_TLS && reply->length > size) {
        given = (socklen_t)reply->length;
        return copy_out(length, &given, sizeof given) ? ERANGE : EFAULT;
    }
    return copy_out(value, reply->room, given) && copy_out(length, &given, sizeof given) ? 0 : EFAULT;
}

static int get_option(struct call *call, int level, int name, uint32_t size, struct reply *reply)
{
    struct request request = {
        .kind = GET_OPTION, .first = level, .second = name, .value = &size, .length = sizeof size};
    int result;

    if (level == SOL_SOCKET && name == SO_ERROR && take_connect_result(call, &result)) {
        reply->length = sizeof result;
        memcpy(reply->room, &result, reply->size < sizeof result ? reply->size : sizeof result);
        return 0;
    }
    return answer(call, &request, reply);
}

int secure_get_option(struct call *call, int level, int name, void *value, socklen_t *length)
{
    struct room room;
    struct reply reply = {0};
    socklen_t size;
    int code;

    if (!copy_in(&size, length, sizeof size))
        return EFAULT;
    if ((int)size < 0)
        return EINVAL;
    if (!room_open(&room, size < MAX_VALUE_BYTES ? size : MAX_VALUE_BYTES))
        return ENOMEM;
    reply.room = room.bytes;
    reply.size = room.size;
    code = get_option(call, level, name, size, &reply);
    if (code == 0)
        code = give(level, &reply, value, length, size);
    room_close(&room);
    return code;
}
