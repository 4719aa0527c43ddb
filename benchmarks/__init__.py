"""The SSA's own costs, beside stunnel, HAProxy and OpenSSL in the process, for the same work on this machine.

Nouns
-----
*subject*    what does the TLS: the SSA under one of its boundaries, stunnel, HAProxy, or the application's own OpenSSL
*role*       client: the application connects to a TLS server; server: a TLS client connects to the application
*endpoint*   one end of the connections, always the same program (``programs/endpoint.py``): *application* (the side
             whose TLS the subject does) or *peer* (the other side, TLS by the standard library)
*scene*      one subject in one role with its application and its peers, running
*round*      every subject once, one after the other; a number is the median of the rounds
*recording*  one JSON file: the numbers of every round, the machine, the load, and the command that made it

Reading order: ``records``; ``machine`` (CPU, memory and descriptors of processes); ``processes`` (what is started and
how it ends); ``subjects`` and ``scenes``; ``calls``, ``connections``, ``handshakes``, ``relay`` (what is measured);
``page`` (recordings to docs/benchmarks.md, pure); ``cli``.

``python -m benchmarks run`` measures, ``python -m benchmarks table`` writes the page.  Everything happens on loopback,
is bounded in count and time, and ends by itself.  Nothing of ``ssa_impl`` is imported: the real ``ssad`` and
``ssa run`` are started as processes.
"""
