"""The Secure Socket API on a stock Linux kernel: TLS as an operating-system service.

An unmodified program calls ``socket(AF_INET, SOCK_STREAM, IPPROTO_TLS)``; a daemon does the TLS under the
administrator's policy (O'Neill et al., USENIX Security 2018).

The nouns, in reading order:

* ``abi`` -- every number and option, one table; the C header and the reference page are generated from it.
* ``errors`` -- failures by whose fault they are; each carries the errno that the application sees.
* ``sockets`` -- the life of one *secure socket*: transition table, option values.  Pure.
* ``control`` -- what a *boundary* says to the daemon: messages and codec (pure), channel (I/O).
* ``policy`` -- what the administrator allows and, with what the application asked for, the *settings* of one
  connection (pure); ``policy.contexts`` is the only place that makes a TLS context.
* ``tls`` -- the *engine*: sans-IO TLS over memory BIOs.  No socket, no clock, no option.
* ``daemon`` -- ``ssad``: a parent that hands out sockets and one worker per core.  I/O.
* ``boundary`` -- where an application's system calls become control messages.  I/O.
* ``cli`` -- ``ssad`` and ``ssa``.

Data: system call -> boundary -> control message -> secure socket -> policy -> engine -> relay -> peer.
Waiting happens in ``daemon``, ``boundary`` and ``control.channel`` only.
"""

__version__ = "0.1.0"
