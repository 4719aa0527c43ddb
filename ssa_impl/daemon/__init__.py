"""``ssad``: a parent that hands out secure sockets, and one worker per core that serves them.  I/O lives here.

* ``parent`` -- listens on the control socket, gives each new channel to the next worker, restarts workers.
* ``worker`` -- one process, one trio loop, nothing shared.
* ``session`` -- one secure socket: its channel's requests, its connect.
* ``outer`` -- the TCP socket towards the peer.  ``inner`` -- the unix socket towards the application.
* ``handshake`` and ``relay`` -- what runs between the two, through the engine.
"""
