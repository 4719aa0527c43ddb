"""The control channel: how a boundary speaks to the daemon about one secure socket.

One connection (AF_UNIX, SOCK_SEQPACKET) is one secure socket; closing it releases whatever the daemon holds for a
socket that is not connected.  ``messages`` and ``codec`` are pure; ``channel`` and
``daemon_channel`` (its end in trio) are the only I/O.
"""
