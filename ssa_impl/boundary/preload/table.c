/* The secure sockets that this process knows, by inode, and which descriptor numbers they were last seen under. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

#include "preload.h"

enum {
    MARKS = 1 << 20, /* higher numbers work too, only slower; untouched pages of this array cost nothing */
    BUCKETS = 1024,
    FOREIGN = 1024,
    SWEEP_AT = 64,
    ENTRIES_AT_ONCE = 64,
};

static unsigned char marks[MARKS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* innermost; everything below */
static struct entry *buckets[BUCKETS];
static struct entry *unused;
static ino_t foreign[FOREIGN]; /* unix stream sockets that the daemon does not know */
static unsigned count, sweep_at = SWEEP_AT;

bool table_marks(int fd)
{
    return (unsigned)fd < MARKS && __atomic_load_n(&marks[fd], __ATOMIC_RELAXED);
}

void table_mark(int fd)
{
    if ((unsigned)fd < MARKS)
        __atomic_store_n(&marks[fd], 1, __ATOMIC_RELAXED);
}

void table_unmark(int fd)
{
    if ((unsigned)fd < MARKS)
        __atomic_store_n(&marks[fd], 0, __ATOMIC_RELAXED);
}

static struct entry **bucket(ino_t inode)
{
    return &buckets[inode % BUCKETS];
}

static struct entry *search(ino_t inode)
{
    struct entry *entry = *bucket(inode);

    while (entry != NULL && entry->inode != inode)
        entry = entry->next;
    return entry;
}

static void list(struct entry *entry, ino_t inode)
{
    entry->inode = inode;
    entry->listed = true;
    entry->next = *bucket(inode);
    *bucket(inode) = entry;
    count++;
}

static void unlist(struct entry *entry)
{
    struct entry **link = bucket(entry->inode);

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    entry->listed = false;
    count--;
}

static struct entry *allocate(void)
{
    struct entry *entry = unused;

    if (entry == NULL) {
        entry = mmap(NULL, ENTRIES_AT_ONCE * sizeof *entry, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (entry == MAP_FAILED)
            return NULL;
        for (int index = 0; index < ENTRIES_AT_ONCE - 1; index++)
            entry[index].next = &entry[index + 1];
    }
    unused = entry->next;
    memset(entry, 0, sizeof *entry);
    pthread_mutex_init(&entry->lock, NULL);
    entry->inherited.fd = -1;
    entry->seen = true;
    entry->number = 1; /* that of the request which opened the channel */
    return entry;
}

struct entry *table_get(ino_t inode)
{
    struct entry *entry;

    pthread_mutex_lock(&lock);
    entry = search(inode);
    if (entry != NULL)
        entry->references++;
    pthread_mutex_unlock(&lock);
    return entry;
}

/* Another thread may have been faster: then its entry stays, and this channel is closed. */
struct entry *table_add(ino_t inode, const struct channel *channel)
{
    struct channel superfluous = *channel;
    struct entry *entry;

    pthread_mutex_lock(&lock);
    entry = search(inode);
    if (entry == NULL && (entry = allocate()) != NULL) {
        entry->channel = *channel;
        superfluous.fd = -1;
        entry->references = 1;
        list(entry, inode);
    }
    if (entry != NULL)
        entry->references++;
    pthread_mutex_unlock(&lock);
    channel_close(&superfluous);
    return entry;
}

void table_rename(struct entry *entry, ino_t inode)
{
    pthread_mutex_lock(&lock);
    if (entry->listed) {
        unlist(entry);
        list(entry, inode);
    }
    pthread_mutex_unlock(&lock);
}

void table_drop(struct entry *entry)
{
    bool was_listed;

    pthread_mutex_lock(&lock);
    was_listed = entry->listed;
    if (was_listed)
        unlist(entry);
    pthread_mutex_unlock(&lock);
    if (was_listed)
        entry_put(entry);
}

void entry_put(struct entry *entry)
{
    bool last;

    pthread_mutex_lock(&lock);
    last = --entry->references == 0;
    pthread_mutex_unlock(&lock);
    if (!last)
        return;
    channel_close(&entry->channel);
    channel_close(&entry->inherited);
    pthread_mutex_lock(&lock);
    entry->next = unused;
    unused = entry;
    pthread_mutex_unlock(&lock);
}

/* -- sweeping: descriptors are also closed where this library cannot see it (fclose, dup2, close_range) */

static void note_seen(int fd, void *context)
{
    ino_t inode = socket_inode(fd);
    struct entry *entry;

    (void)context;
    if (inode == 0)
        return;
    pthread_mutex_lock(&lock);
    if ((entry = search(inode)) != NULL)
        entry->seen = true;
    pthread_mutex_unlock(&lock);
}

/* Mark all; what is still marked after a look at every descriptor is gone.  Others' new entries are born seen. */
static void sweep(void)
{
    struct entry *gone = NULL;

    pthread_mutex_lock(&lock);
    for (int index = 0; index < BUCKETS; index++)
        for (struct entry *entry = buckets[index]; entry != NULL; entry = entry->next)
            entry->seen = false;
    pthread_mutex_unlock(&lock);
    if (!each_descriptor(note_seen, NULL))
        return;
    pthread_mutex_lock(&lock);
    for (int index = 0; index < BUCKETS; index++)
        for (struct entry **link = &buckets[index]; *link != NULL;) {
            struct entry *entry = *link;

            if (entry->seen) {
                link = &entry->next;
                continue;
            }
            *link = entry->next;
            entry->listed = false;
            entry->next = gone;
            gone = entry;
            count--;
        }
    sweep_at = 2 * count > SWEEP_AT ? 2 * count : SWEEP_AT;
    pthread_mutex_unlock(&lock);
    while (gone != NULL) {
        struct entry *next = gone->next;

        entry_put(gone);
        gone = next;
    }
}

void table_sweep_if_due(void)
{
    bool due;

    pthread_mutex_lock(&lock);
    due = count >= sweep_at;
    pthread_mutex_unlock(&lock);
    if (due)
        sweep();
}

/* -- sockets of others */

bool table_knows_foreign(ino_t inode)
{
    return __atomic_load_n(&foreign[inode % FOREIGN], __ATOMIC_RELAXED) == inode;
}

void table_note_foreign(ino_t inode)
{
    __atomic_store_n(&foreign[inode % FOREIGN], inode, __ATOMIC_RELAXED);
}

/* -- fork */

static void inherit(struct entry *entry)
{
    pthread_mutex_init(&entry->lock, NULL); /* whoever held it stayed with the parent */
    if (channel_is_open(&entry->channel)) {
        channel_close(&entry->inherited);
        entry->inherited = entry->channel;
    }
    entry->channel.fd = -1;
    entry->connecting = 0;
    entry->waiting = false;
}

void table_after_fork(void)
{
    pthread_mutex_init(&lock, NULL);
    for (int index = 0; index < BUCKETS; index++)
        for (struct entry *entry = buckets[index]; entry != NULL; entry = entry->next)
            inherit(entry);
}
