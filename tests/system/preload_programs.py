"""Programs for the tests of the preload boundary: what only a library in the application's own process can get wrong.

``python -m tests.system.preload_programs NAME ARGUMENTS`` runs one; arguments and result are JSON.  Where a program
waits for its test, it says a word and reads a line.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.system.programs import (
    ANCHORS,
    CIPHER,
    ERROR,
    HOSTNAME,
    ID,
    NAME,
    TLS,
    code,
    connected,
    fetch,
    hear_end,
    new,
    receive_exactly,
    string,
)

libc = ctypes.CDLL(None, use_errno=True)


def talk(s: socket.socket, word: bytes = b"hello") -> str:
    """Say a word to an echo server; return the echo."""
    s.sendall(word)
    return receive_exactly(s, len(word)).decode()


def in_child(work: Any) -> Any:
    """Return what ``work`` returns in a child of fork."""
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            word = work()
        except BaseException as error:
            word = repr(error)
        os.write(write, json.dumps(word).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.wait()
    return json.loads(text)


def in_program(s: socket.socket, source: str) -> str:
    """Run Python source in a process of its own, where ``s`` is this socket; return what it prints."""
    head = "import socket, sys; s = socket.socket(2, 1, 205, int(sys.argv[1]))\n"
    command = [sys.executable, "-W", "ignore", "-c", head + source, str(s.fileno())]
    done = subprocess.run(command, pass_fds=[s.fileno()], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def open_descriptors() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/fd").iterdir() if path.exists()]


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def wait_for_test(word: str) -> None:
    say(word)
    sys.stdin.readline()


def environment() -> list[str]:
    return [os.environ["LD_PRELOAD"], os.environ["SSAD_SOCKET"]]


# -- descriptors that are closed, replaced and reused


def closed_from_below(port: int, ca: str) -> dict[str, Any]:
    """A program closes what it does not know: the library's own connections to the daemon too."""
    opened, s = new(ca), connected(port, ca)
    keep = {0, 1, 2, opened.fileno(), s.fileno()}
    theirs = [number for number in open_descriptors() if number not in keep]
    for number in theirs:
        os.close(number)
    reused, _writing = os.pipe()
    return {
        "were there": len(theirs) >= 2,
        "option": string(s, CIPHER)[:4],
        "echo": talk(s),
        "peer": s.getpeername()[1] == port,
        "not connected": code(opened.getsockopt, TLS, ID, 8),
        "reused": os.fstat(reused).st_mode & 0o170000 == 0o010000,
    }


def replaced_by_another_file(port: int, ca: str) -> dict[str, Any]:
    """dup2 over a secure socket: the number means something else now."""
    s = connected(port, ca)
    near, far = socket.socketpair()
    os.dup2(near.fileno(), s.fileno())
    far.sendall(b"pair")
    far.close()
    result = {"read": os.read(s.fileno(), 10).decode(), "end": os.read(s.fileno(), 10).decode()}
    return {**result, "option": code(s.getsockopt, TLS, CIPHER, 100), "close": code(s.close)}


def closed_behind_its_back(ca: str, count: int) -> dict[str, Any]:
    """close_range(2) is no call that the library sees; what it holds for such sockets is found and let go."""
    most = 0
    for _ in range(count):
        s = new(ca)
        number = s.detach()
        os.closerange(number, number + 1)
        most = max(most, len(open_descriptors()))
    return {"bounded": most < 200, "most": most}


def many_at_once(ca: str, count: int) -> int:
    """More sockets than the library looks after before it looks who is still there; none is forgotten."""
    opened = [new(ca) for _ in range(count)]
    return len({s.getsockopt(TLS, ID, 8) for s in opened})


def low_numbers_stay_free(ca: str) -> list[int]:
    """socket() takes the lowest free number, as it always does, and leaves no hole."""
    opened = [new(ca) for _ in range(3)]
    first = opened[0].fileno()
    return [s.fileno() - first for s in opened]


def foreign_unix_sockets(directory: str) -> dict[str, Any]:
    """Unix sockets of the program's own look like ours from outside; they must be as they were."""
    near, far = socket.socketpair()
    far.close()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/listener")
        listener.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{directory}/listener")
            accepted, _ = listener.accept()
            accepted.sendall(b"named")
            accepted.close()
            named = [
                client.recv(10).decode(),
                client.recv(10).decode(),
                client.getpeername() == f"{directory}/listener",
            ]
    return {
        "pair ends": near.recv(1).decode(),
        "pair type": near.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
        "pair domain": near.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN),
        "pair name": near.getsockname(),
        "tls option": code(near.getsockopt, TLS, CIPHER, 100),
        "named": named,
        "errno of a bad descriptor": [libc.close(9999), ctypes.get_errno()],
    }


# -- other processes


def option_in_a_child(port: int, ca: str) -> list[Any]:
    """Parent and child ask at the same time, each over a connection of its own."""
    s = connected(port, ca)
    number = s.getsockopt(TLS, ID, 8)

    def ask() -> list[bool]:
        return [s.getsockopt(TLS, ID, 8) == number for _ in range(200)]

    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, json.dumps(all(ask())).encode())
        os._exit(0)
    ours = all(ask())
    os.wait()
    return [ours, json.loads(os.read(read, 100)), talk(s)]


def connect_in_a_program(port: int, ca: str) -> str:
    """An unconnected socket goes to another program, which connects it while its maker lives."""
    s = new(ca)
    name = f"s.connect(('127.0.0.1', {port})); s.sendall(b'exec'); print(s.recv(4).decode(), s.getsockopt({TLS}, 113))"
    return in_program(s, name) + " " + talk(s)


def half_close_in_a_program(port: int, ca: str) -> str:
    """A program of another language gets the only copy, shuts its side down, and reads to an end that is in order."""
    s = connected(port, ca)
    source = """
        open(my $s, "+<&=", $ARGV[0]) or die; syswrite($s, "hello"); shutdown($s, 1);
        print "ready\\n"; <STDIN>;
        while ((my $size = sysread($s, my $piece, 100)) // die "$!\\n") { print $piece }
    """
    command = ["perl", "-e", "$| = 1;" + source, str(s.fileno())]
    with subprocess.Popen(
        command,
        pass_fds=[s.fileno()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as program:
        s.close()
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        wait_for_test("shut down")
        return program.communicate("\n")[0]


def vfork_is_no_fork(port: int, ca: str) -> list[str]:
    """subprocess closes everything in a child of vfork, whose memory is ours."""
    opened, s = new(ca), connected(port, ca)
    subprocess.run(["true"], close_fds=True, check=True)
    subprocess.run(["true"], close_fds=True, preexec_fn=lambda: None, check=True)
    opened.connect(("127.0.0.1", port))
    return [string(s, CIPHER)[:4], talk(s), talk(opened)]


def parent_closes_listening_child_ends(port: int, ca: str) -> str:
    """A child that closes its copy takes nothing from its parent."""
    s = new(ca)
    in_child(s.close)
    return code(s.connect, ("127.0.0.1", port)) or talk(s)


def end_of_a_cut_stream(port: int, ca: str, how: str) -> list[Any]:
    """The stream is cut: whoever reads the descriptor must hear of it, whatever call and whatever process."""
    s = connected(port, ca)
    assert receive_exactly(s, 4) == b"half"
    if how == "dup":
        return hear_end(s.dup())
    if how == "child":
        return list(in_child(lambda: hear_end(s)))
    if how == "program":
        source = "\ntry: print(s.recv(10))\nexcept OSError as e: print(e.errno)"
        return ["", errno.errorcode[int(in_program(s, source))]]
    reads = {
        "recv": lambda: s.recv(10),
        "read": lambda: os.read(s.fileno(), 10),
        "readv": lambda: os.readv(s.fileno(), [bytearray(10)]),
        "recvmsg": lambda: s.recvmsg(10),
        "recvfrom": lambda: s.recvfrom(10),
        "peek": lambda: s.recv(10, socket.MSG_PEEK),
    }
    first = code(reads[how])
    return ["", first, code(s.recv, 10), s.recv(0).decode()]


def end_of_a_whole_stream(port: int, ca: str, how: str) -> str:
    """The same for a stream that ended in order."""
    with connected(port, ca) as s:
        if how == "child":
            return str(in_child(lambda: fetch(s)))
        if how == "dup":
            return fetch(s.dup())
        return fetch(s)


def daemon_is_killed(port: int, ca: str, how: str) -> list[Any]:
    """The daemon dies with the connection open."""
    s = connected(port, ca)
    wait_for_test("connected")
    if how == "child":
        return list(in_child(lambda: hear_end(s)))
    if how == "program":
        source = "\ntry: print(s.recv(10))\nexcept OSError as e: print(e.errno)"
        return ["", errno.errorcode[int(in_program(s, source))]]
    return hear_end(s)


# -- threads and signals


def options_during_connect(port: int, ca: str) -> dict[str, Any]:
    """One thread waits in connect; the others are answered meanwhile."""
    s = new(ca)
    number = s.getsockopt(TLS, ID, 8)
    ended: list[str] = []
    thread = threading.Thread(target=lambda: ended.append(code(s.connect, ("127.0.0.1", port))))
    thread.start()
    wait_for_test("connecting")
    result = {
        "same": s.getsockopt(TLS, ID, 8) == number,
        "again": code(s.connect, ("127.0.0.1", port)),
        "late": code(s.setsockopt, TLS, HOSTNAME, b"late\0"),
        "still waiting": thread.is_alive(),
    }
    wait_for_test("asked")
    thread.join()
    return {**result, "connect": ended}


def interrupted_without_restart(ca: str, count: int) -> list[Any]:
    """A handler without SA_RESTART, every millisecond: the calls that TCP never interrupts are not interrupted."""
    ticks = 0

    def tick(_number: int, _frame: object) -> None:
        nonlocal ticks
        ticks += 1

    signal.signal(signal.SIGALRM, tick)
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    numbers = set()
    for _ in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
            s.setsockopt(TLS, ANCHORS, ca.encode() + b"\0")
            s.setsockopt(TLS, HOSTNAME, NAME.encode() + b"\0")
            numbers.add(s.getsockopt(TLS, ID, 8))
    signal.setitimer(signal.ITIMER_REAL, 0)
    return [len(numbers), ticks > 0]


def broken_off_and_taken_up(port: int, ca: str, how: str) -> dict[str, Any]:
    """A signal breaks off connect; the program comes back for the result as programs do."""
    s = new(ca)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    signal.siginterrupt(signal.SIGUSR1, True)
    address = ctypes.create_string_buffer(
        socket.AF_INET.to_bytes(2, sys.byteorder) + port.to_bytes(2, "big") + socket.inet_aton("127.0.0.1") + bytes(8),
        16,
    )
    say("connecting")
    failed = libc.connect(s.fileno(), address, 16)
    first = errno.errorcode[ctypes.get_errno()] if failed else ""
    wait_for_test(first)
    if how == "connect":
        second = code(s.connect, ("127.0.0.1", port))
    else:
        select.select([], [s], [], 60)
        second = errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "")
    return {"first": first, "second": second, "echo": talk(s), "third": code(s.connect, ("127.0.0.1", port))}


def waits_for_a_stopped_daemon(ca: str) -> str:
    """Ask something that nobody answers."""
    s = new(ca)
    wait_for_test("open")
    say("asking")
    return string(s, ERROR)


# -- files


def with_the_rights_of_nobody(paths: list[str]) -> list[list[str]]:
    """A server opens its socket, gives up root, and then names files."""
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    results = []
    for path in paths:
        failed = code(s.setsockopt, TLS, ANCHORS, path.encode() + b"\0")
        results.append([failed, string(s, ERROR) if failed else ""])
    return results


def main() -> None:
    """Run one program, say its result."""
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    say({"result": globals()[name](**arguments)})


if __name__ == "__main__":
    main()
