"""``ssad``: a parent that hands out secure sockets, and one worker per core that serves them.  I/O lives here.

* ``parent`` -- listens on the control socket (``places``, ``notify``), obeys signals, drains.  ``fleet``: its workers.
* ``reloading`` and ``governing`` -- another policy comes into force in all workers or none; ``distribution``: its way.
* ``checking`` -- what they would refuse, also for who has no daemon.
* ``enforcing`` -- open connections that another policy forbids are cut. ``rejudging``: who is believed.
* ``identity`` -- who an application is, looked up by the parent.  ``administering``: the administrator's answers.
* ``ledger`` -- how many sockets each user has in all workers; ``crowd``: who waits, and gives way.
* ``worker`` -- one process, one trio loop; ``services`` is what its sockets share, ``post`` what it hears from others.
* ``session`` -- one secure socket; ``requests``: what its channels ask of it.
* ``sharing``, ``handles``, ``relocation`` -- contexts that several sockets share; sockets that go to another worker.
* ``connecting``, ``accepting`` -- the two roles' ways to an authenticated connection; ``carriage`` -- its life then.
* ``resolver`` -- names to addresses, in threads of their own.
* ``stapling`` -- OCSP answers about certificates that sockets present, fetched beside.
* ``binding`` -- bind(), where a listener that has just been closed may be in the way.
* ``outer`` -- the TCP socket towards the peer.  ``inner`` -- the unix sockets towards the application.
* ``relay`` -- handshake and pumps between the two, through the engine.
"""
