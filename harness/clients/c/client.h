/* One client process of a trial, in C: what harness/clients/client.py is in Python.
 *
 * client.c is the process's life, the request and the response; openssl.c and ssa.c each are one way to TLS. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

struct target {
    const char *address;     /* IP literal */
    int port;
    const char *server_name; /* what the certificate must be good for */
    const char *path;
    const char *ca_file;
    size_t size_bytes;       /* of the body, at most */
    size_t read_size_bytes;  /* most that one read asks for */
    long long held_back_ns;
};

/* What went wrong, said once: the first error stays.  Returns false. */
bool fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A TCP socket's address, from the target.  The length, or 0 when the address is none. */
struct sockaddr;
unsigned address_of(const struct target *target, void *storage);

/* In the order in which they are called; false or a negative number after fail(). */
bool tls_prepare(const struct target *target);         /* before the release */
bool tls_connect(const struct target *target, void (*tcp_connected)(void));
bool tls_send(const char *data, size_t length);
ssize_t tls_receive(char *buffer, size_t length);      /* 0: the end */
void tls_terms(FILE *report);                          /* after everybody is done: members of the JSON report */
const char *tls_library(void);                         /* OpenSSL's version, "" where there is none */

/* A member of the JSON report. */
void say_text(FILE *report, const char *name, const char *text);
void say_number(FILE *report, const char *name, long long value);
void say_flag(FILE *report, const char *name, bool value);

#endif
