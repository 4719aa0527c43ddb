/* An end of file, seen by the application: in order, or a stream that was cut (SSA_SPEC section 2, shutdown). */
#define _GNU_SOURCE
#include <errno.h>

#include "preload.h"

static int code_of_end(struct call *call)
{
    struct request request = {.kind = ASK_END};
    bool told;
    int code;

    pthread_mutex_lock(&call->entry->lock);
    told = call->entry->end_told;
    call->entry->end_told = true;
    pthread_mutex_unlock(&call->entry->lock);
    if (told) /* as with TCP, an error is told once; then there is the end */
        return 0;
    code = ask(call, &request, NULL);
    return code == GONE ? ECONNRESET : code;
}

ssize_t after_end(int fd)
{
    struct call call;

    if (!enter(&call, fd))
        return 0;
    return call_end(&call, code_of_end(&call));
}
