"""The client programs: n processes of one stack, released at one moment, each with a report of its own.

Nouns, in reading order:

- ``target``: what every client is told (:class:`~harness.clients.target.Target`).
- ``http``: the request's bytes and the response's, without any I/O: both stacks use this very code.
- ``openssl_client``: TLS inside the process, by pyOpenSSL on the blocking TCP socket.
- ``ssa_client``: plain sockets of the standard library; TLS is the operating system's.
- ``plain_client``: no TLS in the client: plain HTTP, or a local proxy.
- ``native`` and ``c/``: the same life as a program of C, with libssl or on the SSA.
- ``client``: one process's life: ready, release, connect, request, body, report.  Says what stands on which
  side of the clock.
- ``stages``: gate, muster and board: how n processes start together and nobody waits for ever.
- ``crew``: the n processes of one trial, forked, released, collected, buried.
- ``fleet``: the warmed parent of one stack, ``python -m harness.clients.fleet``; speaks JSON lines on stdin
  and stdout.

I/O is what these programs are for, except in ``target`` and ``http``.  Everything that the SSA's fleet
imports is the standard library's (``openssl_client`` is imported by the other fleet only), so that its
processes are small and nothing but the system call boundary stands between them and TLS.
"""
