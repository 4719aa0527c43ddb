/* Values that are paths: the file is opened and read here, with the application's own rights; the daemon gets a copy in
 * memory, since a file system may keep whoever reads it waiting. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload.h"
#include "routing.h"

enum {
    OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
    LARGEST_ANCHOR_BYTES = 1 << 20,
    LARGEST_FILE_BYTES = 4 << 20, /* the daemon's limit: one byte more is enough to be too much */
};

static ssize_t read_all(int fd, char *bytes, size_t size)
{
    size_t total = 0;

    while (total < size) {
        ssize_t got = pread(fd, bytes + total, size - total, (off_t)total);

        if (got < 0)
            return -1;
        if (got == 0)
            break;
        total += (size_t)got;
    }
    return (ssize_t)total;
}

static void append_if_pem(int file, int result, char *bytes)
{
    struct stat status;
    ssize_t size;

    if (fstat(file, &status) || !S_ISREG(status.st_mode))
        return;
    size = read_all(file, bytes, LARGEST_ANCHOR_BYTES);
    if (size <= 0 || memmem(bytes, (size_t)size, "-----BEGIN", 10) == NULL)
        return;
    while (size > 0 && bytes[size - 1] == '\n')
        size--;
    bytes[size++] = '\n';
    for (ssize_t at = 0, put; at < size; at += put)
        if ((put = write(result, bytes + at, (size_t)(size - at))) <= 0)
            return;
}

static int by_name(const struct dirent **one, const struct dirent **other)
{
    return strcmp((*one)->d_name, (*other)->d_name);
}

/* Return a memory file with every regular file of a directory that looks like PEM, or -1. */
static int concatenated(int directory)
{
    struct dirent **names = NULL;
    int result = memfd_create("anchors", MFD_CLOEXEC), count = -1;
    char *bytes =
        mmap(NULL, LARGEST_ANCHOR_BYTES + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (result >= 0 && bytes != MAP_FAILED)
        count = scandirat(directory, ".", &names, NULL, by_name);
    for (int index = 0; index < count; index++) {
        int file = openat(directory, names[index]->d_name, OPEN_FLAGS);

        if (file >= 0) { /* a dangling link or a file of somebody else is no anchor */
            append_if_pem(file, result, bytes);
            sys_close(file);
        }
        free(names[index]);
    }
    free(names);
    if (bytes != MAP_FAILED)
        munmap(bytes, LARGEST_ANCHOR_BYTES + 1);
    if (count < 0 && result >= 0) {
        sys_close(result);
        result = -1;
    }
    return result;
}

/* Return a memory file with what a regular file holds, or -1. */
static int copied(int file)
{
    int result = memfd_create("file", MFD_CLOEXEC), error;
    ssize_t moved = result;
    off_t offset = 0;

    while (moved >= 0 && offset <= LARGEST_FILE_BYTES) {
        moved = sendfile(result, file, &offset, (size_t)(LARGEST_FILE_BYTES + 1 - offset));
        if (moved == 0)
            return result;
    }
    if (moved < 0 && result >= 0) {
        error = errno;
        sys_close(result);
        errno = error;
        result = -1;
    }
    return result;
}

/* Return a memory file with what the application may read at a path, or -1. */
static int open_file(int name, const char *path)
{
    int file = open(path, OPEN_FLAGS), result = -1, error = EINVAL;
    struct stat status;

    if (file < 0)
        return -1;
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode))
        result = copied(file), error = errno;
    else if (S_ISDIR(status.st_mode) && name == TLS_TRUSTED_PEER_CERTIFICATES)
        result = concatenated(file), error = errno;
    sys_close(file);
    errno = error;
    return result;
}

/* Let the daemon remember why, for TLS_ERROR. */
static int refuse(struct call *call, int code, const char *path, size_t length, const char *why)
{
    char text[4096 + 256];
    int size = snprintf(text, sizeof text, "%.*s: %s", (int)length, path, why);
    struct request request = {.kind = REFUSAL, .first = code, .value = text};

    request.length = (size_t)size < sizeof text ? (size_t)size : sizeof text - 1;
    return answer(call, &request, NULL);
}

/* The policy may have a key at a path that the application cannot open: the daemon is told the path, from the root on, and
 * why it could not be opened. */
static int ask_by_path(struct call *call, int name, const char *path, int error)
{
    char whole[2 * 4096];
    struct request request = {.kind = SET_BY_PATH, .first = name, .second = error, .value = whole};
    size_t length = 0;

    if (path[0] != '/') {
        if (getcwd(whole, 4096) == NULL)
            return refuse(call, error, path, strlen(path), "the working directory has no path");
        length = strlen(whole);
        whole[length++] = '/';
    }
    memcpy(whole + length, path, strlen(path));
    request.length = length + strlen(path);
    return answer(call, &request, NULL);
}

int set_by_file(struct call *call, int name, const char *value, size_t length)
{
    struct request request = {
        .kind = SET_OPTION, .flag = true, .first = IPPROTO_TLS, .second = name, .fd_count = 1};
    char path[4096], why[200];
    int file, code, error;

    while (length > 0 && value[length - 1] == '\0')
        length--;
    if (length == 0 || memchr(value, '\0', length) != NULL)
        return refuse(call, EINVAL, value, strnlen(value, length), "an empty path, or a NUL inside it");
    if (length >= sizeof path)
        return refuse(call, ENAMETOOLONG, value, 100, "File name too long");
    memcpy(path, value, length);
    path[length] = '\0';
    file = open_file(name, path);
    if (file < 0) {
        error = errno;
        code = error == EPERM ? EACCES : error;
        if (HAS(KEY_OPTIONS, name) && (code == EACCES || code == ENOENT))
            return ask_by_path(call, name, path, code);
        return refuse(call, code, path, length, strerror_r(error, why, sizeof why));
    }
    request.fds[0] = file;
    code = answer(call, &request, NULL);
    sys_close(file);
    return code;
}
