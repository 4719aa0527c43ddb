"""A process that hardens itself and tries things; run as ``python -m tests.ssa_impl.hardening.confined TRIAL RUNTIME``.

It says as JSON what was in force, and for each thing tried either "done" or the name of its errno.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ssa_impl.hardening.process import HardeningOptions, harden_keeper, harden_parent, harden_worker


def outcome(step: Callable[[], object]) -> str:
    try:
        step()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def make_sockets(runtime: Path) -> None:
    path = str(runtime / "inner")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as end:
        listener.bind(path)
        listener.listen()
        end.connect(path)
    Path(path).unlink()


def reach_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname()).close()


def start_thread() -> None:
    thread = threading.Thread(target=socket.getaddrinfo, args=("localhost", 443))
    thread.start()
    thread.join()


def read_memfd() -> None:
    descriptor = os.memfd_create("trial")
    os.write(descriptor, b"anchors")
    assert Path(f"/proc/self/fd/{descriptor}").read_bytes() == b"anchors"


def write_file(path: Path) -> None:
    path.write_bytes(b"")


def trials(runtime: Path, parent: int) -> dict[str, Callable[[], object]]:
    secret, elsewhere = runtime.parent / "secret", runtime.parent / "written"
    return {
        "runtime sockets": lambda: make_sockets(runtime),
        "tcp": reach_tcp,
        "low port": lambda: socket.create_server(("127.0.0.1", 1022)).close(),
        "thread and resolver": start_thread,
        "memfd": read_memfd,
        "system library": lambda: list(Path("/usr/lib").iterdir()),
        "a user's file": secret.read_bytes,
        "a file elsewhere": lambda: write_file(elsewhere),
        "a file in the runtime directory": lambda: write_file(runtime / "file"),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "fork": os.fork,
        "another's program": lambda: Path(f"/proc/{parent}/exe").readlink(),
        "another's signal": lambda: os.kill(parent, 0),
        "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
        "another user": lambda: os.setuid(65534),
    }


def main() -> None:
    kind, runtime = sys.argv[1], Path(sys.argv[2])
    parent = os.getppid()
    status_file = Path("/proc/self/status").open(encoding="ascii")  # noqa: SIM115  # a worker cannot open it any more
    if kind == "worker":
        in_force = harden_worker(HardeningOptions(runtime))
    elif kind == "keeper":
        in_force = harden_keeper()
    else:
        in_force = harden_parent(traceable=False)
    tried = {name: outcome(step) for name, step in trials(runtime, parent).items()} if kind == "worker" else {}
    with status_file:
        lines = status_file.read().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    kernel_says = {name: status[name] for name in ("NoNewPrivs", "Seccomp", "CapPrm", "CapEff", "CapBnd", "CapInh")}
    sys.stdout.write(
        json.dumps(
            {
                "said": json.loads(in_force.to_json()),
                "described": in_force.describe(),
                "tried": tried,
                "status": kernel_says,
            }
        )
    )


if __name__ == "__main__":
    signal.alarm(60)
    main()
