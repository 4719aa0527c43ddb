/* generated from ssa_impl/abi.py by `python -m ssa_impl.cli.generate`; do not edit */
#ifndef SSA_IN_TLS_H
#define SSA_IN_TLS_H

/* Third argument of socket(), and level of the options below (715 mod 255). */
#define IPPROTO_TLS 205

#define TLS_REMOTE_HOSTNAME               85 /* set, get: name that the peer's certificate must carry, and SNI */
#define TLS_HOSTNAME                      86 /* set, get: server: name to answer to, can be set more than once; accepted socket: the SNI name received */
#define TLS_TRUSTED_PEER_CERTIFICATES     87 /* set: trust anchors of this connection, instead of the policy's trust store */
#define TLS_CERTIFICATE_CHAIN             88 /* set: own certificate and its intermediates; once for each certificate of a server */
#define TLS_PRIVATE_KEY                   89 /* set: own key; goes with the chain whose public key is its own */
#define TLS_ALPN                          90 /* set, get: protocols offered, or accepted in this order; after the handshake the one selected or empty */
#define TLS_SESSION_TTL                   91 /* set, get: how long a session may be resumed; 0 disables caching */
#define TLS_DISABLE_CIPHER                92 /* set: do not use this one */
#define TLS_PEER_IDENTITY                 93 /* get: subject of the peer's certificate (RFC 4514) */
#define TLS_REQUEST_PEER_AUTH             94 /* set: server: the client must present a certificate */
#define TLS_PEER_CERTIFICATE_CHAIN        95 /* get: the peer's chain, PEM, leaf first */
#define TLS_ID                            96 /* get: opaque handle of this socket, unique within the daemon */
#define TLS_TRUSTED_CIPHERS               97 /* get: colon-separated list in force */
#define TLS_CHOSEN_CIPHER                 98 /* get: negotiated suite, OpenSSL's name */
#define TLS_ERROR                        100 /* get: text of the last failure, empty when none */
#define TLS_REVOCATION_CHECKS            102 /* set, get: revocation: master switch */
#define TLS_OCSP_STAPLED_CHECKS          103 /* set, get: revocation: stapled OCSP */
#define TLS_OCSP_CHECKS                  104 /* set, get: revocation: OCSP responders */
#define TLS_CRL_CHECKS                   105 /* set, get: revocation: CRLs */
#define TLS_CACHED_REV_CHECKS            106 /* set, get: revocation: cached answers */
#define TLS_CONTEXT                      107 /* set, get: handle of this socket's settings and session cache; set: share those of another socket of yours */
#define TLS_SESSION_REUSE                108 /* set, get: resume sessions */
#define TLS_RESUMED_SESSION              109 /* get: 1 when the handshake was abbreviated */
#define TLS_ENABLE_CIPHER                110 /* set: use this one again; never wider than the policy */
#define TLS_VERSION_MIN                  111 /* set, get: lowest version; never below the policy's */
#define TLS_VERSION_MAX                  112 /* set, get: highest version; never above the policy's */
#define TLS_VERSION_CONN                 113 /* get: negotiated version */
#define TLS_SERVER_OCSP_STAPLING         122 /* set, get: server: staple OCSP answers */
#define TLS_CHOSEN_GROUP                 123 /* get: negotiated key-exchange group */

/* Option at IPPROTO_TCP: a connected TCP socket goes on as a TLS socket.  Value: the peer's name (client),
 * or nothing (server).  The prototypes' 33 is TCP_FASTOPEN_KEY in today's Linux. */
#define TCP_UPGRADE_TLS 205

/* Family of connect()'s address when the daemon is to resolve the name.  The prototypes' 43 is AF_SMC in
 * today's Linux. */
#define AF_HOSTNAME 715

struct sockaddr_host {
    unsigned short sin_family; /* AF_HOSTNAME */
    unsigned short sin_port;   /* network byte order */
    unsigned char sin_addr[255]; /* name, NUL-terminated */
};

#endif
