"""The boundary in front of libc: ``libssa_preload.so``, a small library in C11, and what builds and starts it.

* ``preload.h`` -- theory of operation, and what the parts share.
* ``exports.c`` -- the functions that the application calls.  ``real.c`` finds libc's own.
* ``call.c``, ``ask.c``, ``channel.c``, ``table.c`` -- is it ours, one request, one connection, who is known.
* ``open.c``, ``options.c``, ``files.c``, ``connect.c``, ``accept.c``, ``end.c``, ``upgrade.c`` -- what each call means.
* ``routing.h`` -- which options concern the daemon.
* ``build`` -- compile it.  ``launch`` -- become a program with it.
"""

from pathlib import Path

LIBRARY = Path(__file__).resolve().with_name("libssa_preload.so")
"""where the library is, when it could be built"""
