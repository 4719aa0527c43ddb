/* What the parts of the preload boundary share.
 *
 * Theory of operation
 *
 * The application's descriptor is a unix stream socket whose other end is the daemon's.  Data never passes through this
 * library: it stands in front of the rare calls only, and of those that can see an end of file, because an end that was
 * no orderly one must be ECONNRESET.
 *
 * Descriptor numbers lie (dup, close, reuse), inodes do not: the *table* holds an *entry* for each secure socket that
 * this process knows, by inode.  One mark for each descriptor number says "was a secure socket when last looked at"; it
 * is only a hint, which lets calls on other descriptors through in the first line.  A unix stream socket that is not in
 * the table (inherited over exec, received in a message) is shown to the daemon once (`Claim`), and the answer kept.
 *
 * Each entry has a *channel* to the daemon.  A request and its reply happen under the entry's lock with all signals
 * blocked, so that handlers, which may make the same calls, never meet a lock that their own thread holds.  A blocking
 * connect waits without lock, with the application's own signal mask, as the only reader of the channel; requests of
 * others meanwhile go over a second channel that is claimed for the occasion.  Should the daemon not answer at once, the
 * signals that have no handler are let in: a stopped daemon leaves a program that can be ended.
 *
 * A child of fork shares the channels' open files with its parent and must not talk on them: it keeps them open, since
 * they keep unconnected sockets alive, and claims channels of its own when it needs them.
 *
 * Nothing here calls malloc where a signal handler could be, or dereferences what the application passed.
 */
#ifndef SSA_PRELOAD_H
#define SSA_PRELOAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "real.h"

#define MAX_VALUE_BYTES (256 * 1024)
#define MAX_SOCKADDR_BYTES 512
#define GONE (-1) /* in place of an errno: the daemon does not answer */

/* -- the wire: ssa_impl/control/codec.py */

enum kind {
    HELLO = 1,
    SET_OPTION = 2,
    GET_OPTION = 3,
    BIND = 4,
    CONNECT = 5,
    GET_NAME = 6,
    REFUSAL = 7,
    REPLY = 8,
    LISTEN = 11,
    UPGRADE = 12,
    CLAIM = 13,
    ASK_END = 14,
    SET_BY_PATH = 15,
};

struct header {
    uint32_t request;
    uint16_t kind;
    uint16_t flag;
    int32_t first;
    int32_t second;
};
_Static_assert(sizeof(struct header) == 16, "the header of a control message has 16 bytes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "control messages are little-endian");

struct request {
    enum kind kind;
    bool flag;
    int32_t first, second;
    const void *value;
    size_t length;
    int fds[3];
    unsigned fd_count;
};

struct reply {
    void *room; /* where the value goes */
    size_t size;
    size_t length; /* of the value as it was sent: more than `size` when it was cut */
};

/* -- channel.c: one connection to the daemon */

struct call;

struct channel {
    int fd; /* -1: none */
    ino_t inode;
};

void channel_prepare(void);
int channel_dial(struct channel *channel);              /* 0, or the errno of socket() */
bool channel_adopt(struct channel *channel, int fd);    /* takes the descriptor over */
bool channel_is_open(const struct channel *channel);    /* programs close descriptors that are not theirs */
bool channel_has_news(const struct channel *channel);   /* a message, or the daemon has hung up */
void channel_close(struct channel *channel);
bool channel_send(const struct channel *channel, uint32_t number, const struct request *request);
/* The value's length as it was sent, or -1 and errno: EINTR, or ENOTCONN when the daemon is gone. */
ssize_t channel_receive(const struct channel *channel, struct header *header, void *room, size_t size);
int channel_claim(struct channel *channel, const struct call *call); /* 0, ENOTSOCK: no secure socket, or GONE */
struct request hello(int family, int fd); /* the descriptor that other processes may claim the socket by */
int channel_hello(struct channel *channel, const struct call *call, int family); /* 0, or the errno of socket() */

enum origin { ORIGIN_UNKNOWN, ORIGIN_DAEMON, ORIGIN_FOREIGN };
enum origin channel_origin(int fd); /* of a unix stream socket, by its names */

/* -- table.c: the secure sockets that this process knows */

struct entry {
    struct entry *next; /* in its bucket, or among the unused ones */
    ino_t inode;
    unsigned references;
    bool listed;
    bool seen;  /* by the sweep under way */
    bool plain; /* still a TCP socket, which may be upgraded */

    pthread_mutex_t lock; /* what follows, and one request at a time */
    struct channel channel;
    struct channel inherited; /* the parent's, never talked on */
    bool dead;                /* the daemon is gone, or knows this socket no more */
    bool established;         /* certainly connected: then any process may claim it at any time */
    bool end_told;
    uint32_t number;     /* of the last request */
    uint32_t connecting; /* the number of a connect or upgrade without a reply so far, or 0 */
    bool waiting;        /* somebody waits for that reply, and reads the channel alone */
    pid_t waiter;        /* which thread */
    bool has_result;     /* of a connect that was broken off by a signal, not told to anybody */
    int result;
};

bool table_marks(int fd);
void table_mark(int fd);
void table_unmark(int fd);
struct entry *table_get(ino_t inode);                                 /* with a reference, or NULL */
struct entry *table_add(ino_t inode, const struct channel *channel);  /* with a reference; takes the channel over */
void table_rename(struct entry *entry, ino_t inode);
void table_drop(struct entry *entry);
void table_sweep_if_due(void);
void table_after_fork(void);
void entry_put(struct entry *entry);
bool table_knows_foreign(ino_t inode);
void table_note_foreign(ino_t inode);

/* -- call.c: around each call */

struct call {
    int fd;
    struct entry *entry;
    sigset_t mask; /* the application's */
    int error;     /* its errno */
};

void call_begin(struct call *call, int fd);
int call_end(struct call *call, int code); /* 0, or -1 and errno */
void call_let_signals_in(const struct call *call);
void call_keep_signals_out(sigset_t *before);
bool enter(struct call *call, int fd); /* false: not a secure socket, and nothing has changed */
bool enter_option(struct call *call, int fd, int level, int name, bool set);
bool is_own_process(void); /* false in a child of vfork, whose memory is its parent's */

/* -- wait.c: as a blocking call of the kernel's would */

struct waiting {
    int fd;       /* until it is readable */
    int lifeline; /* or this one has hung up; -1: none */
    int limit_ms; /* or the time is over; -1: none */
    bool interruptible;
};

int wait_readable(const struct call *call, const struct waiting *waiting); /* 0, ENOTCONN, EAGAIN or EINTR */
void wait_for_answer(const struct call *call, int fd);

/* -- ask.c: one request */

int ask(struct call *call, const struct request *request, struct reply *reply); /* 0, errno or GONE */
int answer(struct call *call, const struct request *request, struct reply *reply); /* 0 or errno */
int begin_long(struct call *call, const struct request *request); /* send; end_long waits for the reply */
int end_long(struct call *call, bool interruptible);
int gone_code(const struct call *call);
void abandon_long(struct call *call); /* this thread closes what it is still waiting for: a handler interrupted it */

/* -- descriptor.c: what the kernel says about a descriptor */

ino_t socket_inode(int fd); /* 0 when it is no socket */
bool is_unix_stream(int fd);
bool is_connected(int fd);
bool is_listening(int fd);
int wire_family(int fd); /* AF_INET or AF_INET6 of a stream socket, or 0 */
bool is_blocking(int fd);
bool each_descriptor(void (*visit)(int fd, void *context), void *context); /* false: cannot be listed */
bool is_open_here(ino_t inode);
long sys_close(int fd);

/* -- memory.c: the application's memory, and room of our own */

struct room {
    char *bytes;
    size_t size;
    char local[2048];
};

bool copy_in(void *to, const void *from, size_t size); /* false: EFAULT */
bool copy_out(void *to, const void *from, size_t size);
bool room_open(struct room *room, size_t size);
void room_close(struct room *room);

/* -- the calls themselves: each returns 0 or the errno, unless it says otherwise */

bool is_secure_kind(int family, int type, int protocol);
int secure_socket(int family, int type); /* a descriptor, or -1 and errno */
int secure_close(int fd);                /* 0, or -1 and errno */
int secure_connect(struct call *call, const void *address, socklen_t length);
int secure_bind(struct call *call, const void *address, socklen_t length);
int secure_listen(struct call *call, int backlog);
int secure_accept(struct call *call, void *address, socklen_t *length, int flags, int *accepted);
int secure_get_name(struct call *call, bool peer, void *address, socklen_t *length);
bool is_routed(int level, int name);
int secure_set_option(struct call *call, int level, int name, const void *value, socklen_t length);
int secure_get_option(struct call *call, int level, int name, void *value, socklen_t *length);
bool take_connect_result(struct call *call, int *result);
int set_by_file(struct call *call, int name, const char *value, size_t length);
int upgrade(struct call *call, const void *hostname, size_t length);
ssize_t after_end(int fd); /* a read gave 0: 0, or -1 and ECONNRESET */

#endif
