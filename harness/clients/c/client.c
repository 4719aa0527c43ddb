/* The process's life.  It is started by harness/clients/native.py, with descriptors of the stations (stages.py):
 *
 *   PROGRAM PROCESS BOARD READY RELEASE DONE AFTERWARDS REPORT ADDRESS PORT NAME PATH CA SIZE READ_SIZE HELD_BACK_NS
 *
 * It writes one JSON object and a newline, then the body, into REPORT: its parent makes the SHA-256.
 *   PROGRAM --version   says what it was built with and which OpenSSL it runs with. */
#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HEADER_LIMIT = 16384, NS_PER_S = 1000000000, YIELD_LIMIT_NS = 20000000, MOMENT_BYTES = 8 };
enum phase { FORKED, READY, RELEASED, TCP, TLS, FIRST_BYTE, DONE }; /* stages.Phase */
enum arguments { PROGRAM, PROCESS, BOARD, READY_FD, RELEASE_FD, DONE_FD, AFTERWARDS_FD, REPORT_FD, ADDRESS, PORT, NAME,
                 PATH, CA, SIZE, READ_SIZE, HELD_BACK, ARGUMENTS };

static volatile unsigned char *board;
static size_t board_bytes;
static int process;
static long long release_ns, released_ns = -1, tcp_ns = -1, tls_ns = -1, first_byte_ns = -1, last_byte_ns = -1;
static char error_text[512];
static int error_code;
static struct rusage before, after;
static bool was_counted;

static char *buffer;
static size_t filled, body_at, end;

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * NS_PER_S + now.tv_nsec;
}

bool fail(int code, const char *format, ...)
{
    if (error_text[0] == '\0') {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error_text, sizeof error_text, format, arguments);
        va_end(arguments);
        error_code = code;
    }
    return false;
}

void say_text(FILE *report, const char *name, const char *text)
{
    fprintf(report, ", \"%s\": \"", name);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(report, "\\%c", *at);
        else if (*at < ' ' || *at > '~')
            fprintf(report, "\\u%04x", *at);
        else
            fputc(*at, report);
    }
    fputc('"', report);
}

void say_number(FILE *report, const char *name, long long value)
{
    fprintf(report, ", \"%s\": %lld", name, value);
}

void say_flag(FILE *report, const char *name, bool value)
{
    fprintf(report, ", \"%s\": %s", name, value ? "true" : "false");
}

unsigned address_of(const struct target *target, void *storage)
{
    struct sockaddr_in *four = storage;
    struct sockaddr_in6 *six = storage;
    memset(storage, 0, sizeof(struct sockaddr_storage));
    if (inet_pton(AF_INET, target->address, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)target->port);
        return sizeof *four;
    }
    if (inet_pton(AF_INET6, target->address, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)target->port);
        return sizeof *six;
    }
    return 0;
}

static void reached(enum phase phase)
{
    board[MOMENT_BYTES + process] = (unsigned char)phase;
}

static void mark(long long *moment, enum phase phase)
{
    *moment = now_ns() - release_ns;
    reached(phase);
}

static void mark_tcp(void)
{
    mark(&tcp_ns, TCP);
}

/* From the gate to the release (stages.StartLine.run): sleep, note when this process first ran, let others wake. */
static void start_line(bool is_first, long long held_back_ns)
{
    memcpy(&release_ns, (const void *)board, MOMENT_BYTES);
    long long moment = release_ns + held_back_ns;
    struct timespec until = {moment / NS_PER_S, moment % NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
    long long seen_ns = now_ns();
    released_ns = seen_ns - release_ns;
    struct sched_param normal = {0};
    if (is_first)
        sched_setscheduler(0, SCHED_OTHER, &normal);
    reached(RELEASED);
    while (!is_first && memchr((const void *)(board + MOMENT_BYTES), READY, board_bytes - MOMENT_BYTES) != NULL
           && now_ns() - seen_ns < YIELD_LIMIT_NS)
        sched_yield();
}

/* The value of a header's field, in the head that ends at `head_end`; NULL when it is not there. */
static const char *field(const char *name, const char *head_end)
{
    for (const char *line = strstr(buffer, "\r\n"); line != NULL && line < head_end; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            return line + strlen(name) + 1 + strspn(line + strlen(name) + 1, " \t");
    }
    return NULL;
}

static bool parse(size_t limit)
{
    size_t known = filled < HEADER_LIMIT ? filled : HEADER_LIMIT;
    const char *head_end = memmem(buffer, known, "\r\n\r\n", 4);
    if (head_end == NULL)
        return filled < HEADER_LIMIT || fail(0, "The server's headers are longer than %d bytes.", HEADER_LIMIT);
    if (memcmp(buffer, "HTTP/1.", 7) != 0)
        return fail(0, "The server did not answer in HTTP/1.");
    if (strncmp(buffer + 9, "200", 3) != 0)
        return fail(0, "The server answered %.*s instead of 200.", (int)strcspn(buffer + 9, "\r"), buffer + 9);
    const char *number = field("content-length", head_end);
    char *rest = NULL;
    unsigned long long length = number != NULL ? strtoull(number, &rest, 10) : 0;
    if (field("transfer-encoding", head_end) != NULL || number == NULL || *number < '0' || *number > '9' || *rest != '\r')
        return fail(0, "The server's answer has no Content-Length: a file of known size is needed.");
    if (length > limit)
        return fail(0, "The server's file has %llu bytes, the plan says %zu.", length, limit);
    body_at = (size_t)(head_end - buffer) + 4;
    end = body_at + length;
    return filled <= end || fail(0, "The server sent more than its Content-Length says.");
}

static bool receive(const struct target *target)
{
    size_t room = end - filled < target->read_size_bytes ? end - filled : target->read_size_bytes;
    ssize_t count = tls_receive(buffer + filled, room);
    if (count < 0)
        return false;
    if (count == 0 && body_at == 0)
        return fail(0, "The server ended the connection after %zu bytes of the headers.", filled);
    if (count == 0)
        return fail(0, "The server ended the connection after %zu of %zu bytes of the body.", filled - body_at,
                    end - body_at);
    filled += (size_t)count;
    return body_at != 0 || parse(target->size_bytes);
}

static bool is_complete(void)
{
    return body_at != 0 && filled == end;
}

static bool download(const struct target *target, const char *request)
{
    if (!tls_connect(target, mark_tcp))
        return false;
    mark(&tls_ns, TLS);
    if (!tls_send(request, strlen(request)) || !receive(target))
        return false;
    mark(&first_byte_ns, FIRST_BYTE);
    while (!is_complete())
        if (!receive(target))
            return false;
    mark(&last_byte_ns, DONE);
    return true;
}

static char *make_request(const struct target *target)
{
    static char request[8192];
    bool is_six = strchr(target->server_name, ':') != NULL;
    char port[16] = "";
    if (target->port != 443)
        snprintf(port, sizeof port, ":%d", target->port);
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: %s%s%s%s\r\nAccept: */*\r\nConnection: close\r\n\r\n", target->path,
                          is_six ? "[" : "", target->server_name, is_six ? "]" : "", port);
    return length > 0 && (size_t)length < sizeof request ? request : NULL;
}

/* The response's buffer exists, and its pages are touched, before the release. */
static bool make_buffer(size_t size_bytes)
{
    buffer = malloc(HEADER_LIMIT + size_bytes + 1);
    if (buffer == NULL)
        return fail(ENOMEM, "The client could not be made ready: no memory.");
    memset(buffer, 0, HEADER_LIMIT + size_bytes + 1);
    end = HEADER_LIMIT;
    return true;
}

static void wait_at(int gate)
{
    char nothing;
    while (read(gate, &nothing, 1) < 0 && errno == EINTR)
        continue;
}

/* The peak of this program, not of the process that it was before execve(2), as getrusage(2) would have it. */
static long long peak_rss_bytes(void)
{
    FILE *status = fopen("/proc/self/status", "re");
    char line[256];
    long long kilobytes = -1;
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmHWM: %lld", &kilobytes) == 1)
            break;
    if (status != NULL)
        fclose(status);
    return kilobytes * 1024;
}

static long long spent_ns(struct timeval from, struct timeval to)
{
    return ((long long)(to.tv_sec - from.tv_sec) * 1000000 + (to.tv_usec - from.tv_usec)) * 1000;
}

static void say_moment(FILE *report, const char *name, long long moment)
{
    if (moment >= 0)
        say_number(report, name, moment);
}

static int write_report(int descriptor, bool ok)
{
    FILE *report = fdopen(descriptor, "w");
    if (report == NULL)
        return 1;
    fprintf(report, "{\"process\": %d", process);
    say_number(report, "pid", getpid());
    if (released_ns != -1)
        say_number(report, "released_offset_ns", released_ns);
    say_moment(report, "tcp_offset_ns", tcp_ns);
    say_moment(report, "tls_offset_ns", tls_ns);
    say_moment(report, "first_byte_offset_ns", first_byte_ns);
    say_moment(report, "last_byte_offset_ns", last_byte_ns);
    if (was_counted) {
        say_number(report, "cpu_user_ns", spent_ns(before.ru_utime, after.ru_utime));
        say_number(report, "cpu_system_ns", spent_ns(before.ru_stime, after.ru_stime));
        say_number(report, "peak_rss_bytes", peak_rss_bytes());
    }
    if (ok) {
        say_number(report, "body_bytes", (long long)(filled - body_at));
        tls_terms(report);
    }
    ok = ok && error_text[0] == '\0'; /* the terms may be what failed */
    say_flag(report, "ok", ok);
    say_text(report, "error", error_text);
    if (error_code != 0)
        say_number(report, "errno", error_code);
    fputs("}\n", report);
    if (ok)
        fwrite(buffer + body_at, 1, filled - body_at, report);
    return fclose(report) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("%s\n%s\n", __VERSION__, tls_library());
        return 0;
    }
    if (argc != ARGUMENTS) {
        fputs("This program is started by the harness.\n", stderr);
        return 2;
    }
    struct target target = {argv[ADDRESS], atoi(argv[PORT]), argv[NAME], argv[PATH], argv[CA],
                            strtoull(argv[SIZE], NULL, 10), strtoull(argv[READ_SIZE], NULL, 10),
                            strtoll(argv[HELD_BACK], NULL, 10)};
    struct stat shared;
    int board_fd = atoi(argv[BOARD]);
    process = atoi(argv[PROCESS]);
    if (fstat(board_fd, &shared) != 0)
        return 2;
    board_bytes = (size_t)shared.st_size;
    board = mmap(NULL, board_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, board_fd, 0);
    if (board == MAP_FAILED)
        return 2;
    reached(DONE); /* nobody waits for one that fails here */
    const char *request = make_request(&target);
    bool ok = request != NULL || fail(0, "The client could not be made ready: the path or the name is too long.");
    ok = ok && make_buffer(target.size_bytes) && tls_prepare(&target);
    if (ok)
        reached(READY);
    struct sched_param first = {1};
    close(atoi(argv[READY_FD]));
    if (ok) {
        bool is_first = sched_setscheduler(0, SCHED_FIFO, &first) == 0;
        wait_at(atoi(argv[RELEASE_FD]));
        start_line(is_first, target.held_back_ns);
        getrusage(RUSAGE_SELF, &before);
        ok = download(&target, request);
        getrusage(RUSAGE_SELF, &after);
        was_counted = true;
    }
    reached(DONE);
    close(atoi(argv[DONE_FD]));
    wait_at(atoi(argv[AFTERWARDS_FD]));
    return write_report(atoi(argv[REPORT_FD]), ok);
}
