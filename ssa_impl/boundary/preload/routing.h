/* Which options concern the daemon.  Tests compare these tables with the seccomp filter's and with ssa_impl/abi.py. */
#ifndef SSA_ROUTING_H
#define SSA_ROUTING_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "../../include/in_tls.h"

/* levels that are the daemon's altogether */
static const int ROUTED_LEVELS[] = {
    IPPROTO_TLS,
    IPPROTO_TCP,
    IPPROTO_IP,
    IPPROTO_IPV6,
};

/* options of SOL_SOCKET that concern the wire, or that a unix socket would answer wrongly */
static const int ROUTED_SOCKET_NAMES[] = {
    SO_ERROR,
    SO_KEEPALIVE,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_PRIORITY,
    SO_DOMAIN,
    SO_PROTOCOL,
};

/* options whose value may be a path */
static const int PATH_OPTIONS[] = {
    TLS_TRUSTED_PEER_CERTIFICATES,
    TLS_CERTIFICATE_CHAIN,
    TLS_PRIVATE_KEY,
};

/* those of them that may name a key of the administrator's policy, by its name or its path */
static const int KEY_OPTIONS[] = {
    TLS_CERTIFICATE_CHAIN,
    TLS_PRIVATE_KEY,
};

#define HAS(table, wanted) has(table, sizeof(table) / sizeof *(table), wanted)

static inline int has(const int *table, size_t count, int wanted)
{
    for (size_t index = 0; index < count; index++)
        if (table[index] == wanted)
            return 1;
    return 0;
}

#endif
