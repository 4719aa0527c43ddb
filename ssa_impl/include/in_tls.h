/* generated from ssa_impl/abi.py by `python -m ssa_impl.cli.generate`; do not edit */
#ifndef SSA_IN_TLS_H
#define SSA_IN_TLS_H

/* Third argument of socket(), and level of the options below (715 mod 255). */
#define IPPROTO_TLS 205

#define TLS_REMOTE_HOSTNAME               85 /* set, get: name that the peer's certificate must carry, and SNI */
#define TLS_TRUSTED_PEER_CERTIFICATES     87 /* set: trust anchors of this connection, instead of the policy's trust store */
#define TLS_ALPN                          90 /* set, get: protocols offered; after the handshake the one selected, empty when none */
#define TLS_PEER_IDENTITY                 93 /* get: subject of the peer's certificate (RFC 4514) */
#define TLS_PEER_CERTIFICATE_CHAIN        95 /* get: the peer's chain, PEM, leaf first */
#define TLS_ID                            96 /* get: opaque handle of this socket, unique within the daemon */
#define TLS_CHOSEN_CIPHER                 98 /* get: negotiated suite, OpenSSL's name */
#define TLS_ERROR                        100 /* get: text of the last failure, empty when none */
#define TLS_RESUMED_SESSION              109 /* get: 1 when the handshake was abbreviated */
#define TLS_VERSION_MIN                  111 /* set, get: lowest version; never below the policy's */
#define TLS_VERSION_MAX                  112 /* set, get: highest version; never above the policy's */
#define TLS_VERSION_CONN                 113 /* get: negotiated version */
#define TLS_CHOSEN_GROUP                 123 /* get: negotiated key-exchange group */

#endif
