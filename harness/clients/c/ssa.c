/* TLS by the operating system: protocol 205 instead of 6 (ssa_client.py, in C).
 *
 * The numbers are the application's side of the SSA's ABI (in_tls.h); they are written here a second time because
 * this program stands for any program. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum {
    IPPROTO_TLS = 205,
    TLS_REMOTE_HOSTNAME = 85,
    TLS_TRUSTED_PEER_CERTIFICATES = 87,
    TLS_ALPN = 90,
    TLS_PEER_CERTIFICATE_CHAIN = 95,
    TLS_CHOSEN_CIPHER = 98,
    TLS_ERROR = 100,
    TLS_RESUMED_SESSION = 109,
    TLS_VERSION_CONN = 113,
    TLS_CHOSEN_GROUP = 123,
};

static int secure = -1;
static struct sockaddr_storage address;
static unsigned address_bytes;
static char text[65536];

static const char *text_of(int option)
{
    socklen_t length = sizeof text - 1;
    if (getsockopt(secure, IPPROTO_TLS, option, text, &length) != 0)
        return NULL;
    text[length] = '\0';
    return text;
}

/* The SSA's own sentence, if it has one. */
static bool broken(void)
{
    int code = errno;
    const char *sentence = text_of(TLS_ERROR);
    if (sentence != NULL && sentence[0] != '\0')
        return fail(code, "%s", sentence);
    return fail(code, "%s.", strerror(code));
}

static bool set_text(int option, const char *value)
{
    return setsockopt(secure, IPPROTO_TLS, option, value, (socklen_t)strlen(value) + 1) == 0;
}

bool tls_prepare(const struct target *target)
{
    address_bytes = address_of(target, &address);
    secure = address_bytes != 0 ? socket(address.ss_family, SOCK_STREAM, IPPROTO_TLS) : -1;
    if (secure < 0 || !set_text(TLS_TRUSTED_PEER_CERTIFICATES, target->ca_file))
        return fail(errno, "The client could not be made ready: %s.", strerror(errno));
    return true;
}

bool tls_connect(const struct target *target, void (*tcp_connected)(void))
{
    (void)tcp_connected; /* one call, so nobody can say when its TCP part is done */
    if (!set_text(TLS_REMOTE_HOSTNAME, target->server_name)
        || connect(secure, (struct sockaddr *)&address, address_bytes) != 0)
        return broken();
    return true;
}

bool tls_send(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(secure, data, length, MSG_NOSIGNAL);
        if (sent < 0)
            return broken();
        data += sent;
        length -= (size_t)sent;
    }
    return true;
}

ssize_t tls_receive(char *buffer, size_t length)
{
    ssize_t count = recv(secure, buffer, length, 0);
    if (count < 0)
        broken();
    return count;
}

void tls_terms(FILE *report)
{
    static const struct { const char *name; int option; } texts[] = {
        {"tls_cipher", TLS_CHOSEN_CIPHER},
        {"tls_group", TLS_CHOSEN_GROUP},
        {"tls_alpn", TLS_ALPN},
        {"peer_chain", TLS_PEER_CERTIFICATE_CHAIN},
    };
    for (size_t place = 0; place < sizeof texts / sizeof texts[0]; place++) {
        const char *value = text_of(texts[place].option);
        if (value == NULL)
            broken();
        else
            say_text(report, texts[place].name, value);
    }
    int version = 0, resumed = 0;
    socklen_t version_bytes = sizeof version, resumed_bytes = sizeof resumed;
    if (getsockopt(secure, IPPROTO_TLS, TLS_VERSION_CONN, &version, &version_bytes) != 0
        || getsockopt(secure, IPPROTO_TLS, TLS_RESUMED_SESSION, &resumed, &resumed_bytes) != 0)
        broken();
    say_text(report, "tls_version", version == 0x0304 ? "TLSv1.3" : version == 0x0303 ? "TLSv1.2" : "unknown");
    say_flag(report, "tls_resumed", resumed != 0);
}

const char *tls_library(void)
{
    return "";
}
