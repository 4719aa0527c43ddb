/* TLS inside the process: the system's libssl, directly on the blocking TCP socket (openssl_client.py, in C). */
#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "OpenSSL 3.0 or newer is needed"
#endif

static SSL_CTX *context;
static SSL *connection;
static int tcp = -1;
static struct sockaddr_storage address;
static unsigned address_bytes;

static bool is_address(const char *name)
{
    unsigned char packed[16];
    return inet_pton(AF_INET, name, packed) == 1 || inet_pton(AF_INET6, name, packed) == 1;
}

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text != NULL ? text : "without a reason";
}

bool tls_prepare(const struct target *target)
{
    int yes = 1;
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1
        || SSL_CTX_load_verify_file(context, target->ca_file) != 1)
        return fail(0, "The client could not be made ready: %s.", reason());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    address_bytes = address_of(target, &address);
    tcp = socket(address.ss_family, SOCK_STREAM, 0);
    if (address_bytes == 0 || tcp < 0 || setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0)
        return fail(errno, "The client could not be made ready: %s.", strerror(errno));
    return true;
}

static bool expect_name(const char *name)
{
    X509_VERIFY_PARAM *rules = SSL_get0_param(connection);
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(rules, name) == 1;
    return X509_VERIFY_PARAM_set1_host(rules, name, 0) == 1 && SSL_set_tlsext_host_name(connection, name) == 1;
}

/* After SSL_connect, SSL_read or SSL_write returned `result`. */
static bool broken(int result, const char *name)
{
    int code = errno;
    long verified = SSL_get_verify_result(connection);
    switch (SSL_get_error(connection, result)) {
    case SSL_ERROR_ZERO_RETURN:
        return fail(0, "The server ended the connection in the middle of its answer.");
    case SSL_ERROR_SYSCALL:
        return fail(code, "The connection broke: %s.", code != 0 ? strerror(code) : "Unexpected EOF");
    default:
        if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH)
            return fail(0, "The certificate is not for %s.", name);
        if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return fail(0, "The connection broke: Unexpected EOF.");
        if (verified != X509_V_OK)
            return fail(0, "TLS failed: %s: %s.", reason(), X509_verify_cert_error_string(verified));
        return fail(0, "TLS failed: %s.", reason());
    }
}

bool tls_connect(const struct target *target, void (*tcp_connected)(void))
{
    if (connect(tcp, (struct sockaddr *)&address, address_bytes) != 0)
        return fail(errno, "%s.", strerror(errno));
    tcp_connected();
    connection = SSL_new(context);
    if (connection == NULL || SSL_set_fd(connection, tcp) != 1 || !expect_name(target->server_name))
        return fail(0, "No certificate can be for %s.", target->server_name);
    errno = 0;
    int result = SSL_connect(connection);
    return result == 1 || broken(result, target->server_name);
}

bool tls_send(const char *data, size_t length)
{
    errno = 0;
    int result = SSL_write(connection, data, (int)length);
    return result > 0 || broken(result, "");
}

ssize_t tls_receive(char *buffer, size_t length)
{
    errno = 0;
    int result = SSL_read(connection, buffer, (int)length);
    if (result > 0)
        return result;
    broken(result, "");
    return -1;
}

void tls_terms(FILE *report)
{
    const unsigned char *protocol;
    unsigned protocol_bytes;
    char text[256] = "";
    SSL_get0_alpn_selected(connection, &protocol, &protocol_bytes);
    snprintf(text, sizeof text, "%.*s", (int)protocol_bytes, protocol_bytes ? (const char *)protocol : "");
    say_text(report, "tls_alpn", text);
    say_text(report, "tls_version", SSL_get_version(connection));
    say_text(report, "tls_cipher", SSL_get_cipher_name(connection));
    const char *group = SSL_group_to_name(connection, (int)SSL_get_negotiated_group(connection));
    say_text(report, "tls_group", group != NULL ? group : "");
    say_flag(report, "tls_resumed", SSL_session_reused(connection) == 1);
    say_text(report, "openssl", tls_library());
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_bytes = 0;
    X509 *leaf = SSL_get1_peer_certificate(connection);
    if (leaf == NULL || X509_digest(leaf, EVP_sha256(), digest, &digest_bytes) != 1)
        return;
    for (unsigned place = 0; place < digest_bytes; place++)
        snprintf(text + 2 * (size_t)place, 3, "%02x", digest[place]);
    say_text(report, "peer_certificate_sha256", text);
    X509_free(leaf);
}

const char *tls_library(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}
