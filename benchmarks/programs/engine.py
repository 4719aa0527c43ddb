"""An engine outside the daemon that accepts every peer: what asking costs, not what thinking does.

``python engine.py SOCKET``: says its process number as JSON when it listens, and ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys

_ANSWER = b'{"vote": "accept", "reason": "whoever it is"}\n'


def main() -> None:
    """Answer until the input ends."""
    with selectors.DefaultSelector() as selector, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(512)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        sys.stdout.write(json.dumps({"pid": os.getpid()}) + "\n")
        sys.stdout.flush()
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ, bytearray())
                else:
                    _hear(selector, key)


def _hear(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Answer when the whole question is there."""
    asking = key.fileobj
    assert isinstance(asking, socket.socket)
    piece = asking.recv(65_536)
    key.data.extend(piece)
    if piece and not key.data.endswith(b"\n"):
        return
    if piece:
        asking.sendall(_ANSWER)
    selector.unregister(asking)
    asking.close()


if __name__ == "__main__":
    main()
