"""Bytes, in every way that a program moves them."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import tempfile
import termios
import threading
from collections.abc import Iterator
from typing import Any

from tests.conformance.behaviour import behaviour, in_both_roles
from tests.conformance.world import (
    MOMENT_MS,
    World,
    digest,
    fill,
    hear_end,
    outcome,
    pattern,
    polled,
    readable,
    receive,
    talk,
    writable,
)

MIB = 1024 * 1024
DATA = "2 read, write, send*, recv*"


@in_both_roles(
    "data.eight-megabytes",
    "8 MiB each way at the same time arrive as they were sent.",
    DATA,
    peer="sends_and_receives",
    peer_arguments={"size": 8 * MIB},
    seen={"received": digest(pattern(8 * MIB)), "end": "in order"},
    plain=True,
)
def eight_megabytes(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:

        def send() -> None:
            s.sendall(pattern(8 * MIB))
            s.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        data, end = hear_end(s)
        sender.join()
        yield "received", digest(data), digest(pattern(8 * MIB))
        yield "end", end, "end"


@in_both_roles(
    "data.byte-by-byte",
    "One byte at a time arrives one byte at a time, and nothing is held back.",
    DATA,
    peer="echoes",
    seen={"end": "in order"},
    plain=True,
)
def byte_by_byte(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        back = b"".join(talk(s, chr(65 + index % 26)).encode() for index in range(200))
        yield "echo", digest(back), digest(bytes(65 + index % 26 for index in range(200)))


@behaviour(
    "data.sendfile",
    "sendfile sends a file from the kernel into the socket.",
    "2 sendfile",
    peer="answers_with_a_digest",
    seen={"received": digest(pattern(MIB)), "end": "in order"},
    plain=True,
)
def sendfile(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s, tempfile.TemporaryFile() as file:
        file.write(pattern(MIB))
        file.flush()
        sent = 0
        while sent < MIB:
            sent += os.sendfile(s.fileno(), file.fileno(), sent, MIB - sent)
        s.shutdown(socket.SHUT_WR)
        yield "answer", hear_end(s)[0].decode(), digest(pattern(MIB))


@behaviour(
    "data.splice",
    "splice moves bytes between a pipe and the socket, both ways.",
    DATA,
    peer="echoes",
    plain=True,
)
def splice(world: World) -> Iterator[tuple[Any, ...]]:
    read, write = os.pipe()
    with world.connected() as s:
        os.write(write, b"through a pipe")
        yield "in", os.splice(read, s.fileno(), 14), 14
        readable(s)
        yield "out", os.splice(s.fileno(), write, 14), 14
        yield "bytes", os.read(read, 100).decode(), "through a pipe"
    os.close(read)
    os.close(write)


@in_both_roles(
    "data.vectors",
    "sendmsg, recvmsg, readv and writev gather and scatter.",
    DATA,
    peer="echoes",
    plain=True,
)
def vectors(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        yield "sendmsg", s.sendmsg([b"gath", b"ered"]), 8
        rooms = [bytearray(3), bytearray(5)]
        wait_for(s, 8)
        size, ancillary, flags, _ = s.recvmsg_into(rooms)
        yield "recvmsg", [size, ancillary, flags], [8, [], 0]
        yield "scattered", [room.decode() for room in rooms], ["gat", "hered"]
        yield "writev", os.writev(s.fileno(), [b"one", b"two"]), 6
        wait_for(s, 6)
        yield "readv", os.readv(s.fileno(), rooms), 6
        yield "scattered again", [rooms[0].decode(), rooms[1][:3].decode()], ["one", "two"]


def wait_for(s: socket.socket, size: int) -> None:
    """Wait until so many bytes are there to be read."""
    while len(s.recv(size, socket.MSG_PEEK)) < size:
        pass


@in_both_roles(
    "data.flags",
    "MSG_PEEK looks without taking, MSG_DONTWAIT never waits, MSG_WAITALL waits for all, FIONREAD counts.",
    DATA,
    peer="echoes",
    plain=True,
)
def flags(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        yield "nothing there", outcome(s.recv, 1, socket.MSG_DONTWAIT), "EAGAIN"
        yield "not readable", polled(s), ["OUT"]
        s.sendall(b"peekaboo")
        wait_for(s, 8)
        yield "peek", s.recv(4, socket.MSG_PEEK).decode(), "peek"
        yield "peek again", s.recv(100, socket.MSG_PEEK).decode(), "peekaboo"
        yield "readable", polled(s), ["IN", "OUT"]
        yield "FIONREAD", struct.unpack("=i", fcntl.ioctl(s, termios.FIONREAD, bytes(4)))[0], 8
        yield "take", s.recv(4).decode(), "peek"
        yield "take the rest", s.recv(4, socket.MSG_DONTWAIT).decode(), "aboo"
        for word in (b"all", b"of it"):
            s.sendall(word)
        yield "MSG_WAITALL", s.recv(8, socket.MSG_WAITALL).decode(), "allof it"


@behaviour(
    "data.stdio",
    "A descriptor works as a file: read, write, and buffered lines.",
    DATA,
    peer="echoes",
    seen={"end": "in order"},
    plain=True,
)
def stdio(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        os.write(s.fileno(), b"first\nsecond\n")
        with s.makefile("r") as lines:
            yield "lines", [lines.readline(), lines.readline()], ["first\n", "second\n"]
        with s.makefile("w") as lines:
            lines.write("third\n")
        yield "read", b"".join(os.read(s.fileno(), 1) for _ in range(6)).decode(), "third\n"


@in_both_roles(
    "data.a-peer-that-does-not-read",
    "A peer that does not read makes the socket unwritable after a bounded amount; when it reads again, all of it"
    " arrives.",
    "2 back-pressure",
    peer="does_not_read",
    seen={"end": "in order"},
    plain=True,
)
def a_peer_that_does_not_read(world: World) -> Iterator[tuple[Any, ...]]:
    limit = 64 * MIB
    with world.connected() as s:
        world.wait()
        sent = fill(s, limit)
        yield "bounded", 0 < sent < limit, True
        yield "not writable", writable(s, MOMENT_MS), False
        yield "send", outcome(s.send, b"x", socket.MSG_DONTWAIT), "EAGAIN"
        world.tell(sent)
        yield "all arrived", world.wait() == sent, True
        yield "writable", writable(s), True


@in_both_roles(
    "data.a-program-that-does-not-read",
    "A program that does not read holds its peer back after a bounded amount, and loses nothing.",
    "2 back-pressure",
    peer="writes_until_it_blocks",
    seen={"blocked": True},
    plain=True,
)
def a_program_that_does_not_read(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        sent = world.wait()
        yield "blocked", sent["blocked"], True
        world.tell("reading")
        data, end = hear_end(s)
        block = pattern(16_384)
        whole = (block * (len(data) // len(block) + 1))[: len(data)]
        yield "everything", len(data) >= sent["at least"], True
        yield "in order", data == whole, True
        yield "end", end, "end"


@behaviour(
    "data.events",
    "poll and epoll report what TCP's would: readable with data, RDHUP with the peer's end; an edge for each arrival.",
    "2 poll, select, epoll",
    peer="speaks_on_demand",
    plain=True,
)
def events(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s, select.epoll() as edges:
        edges.register(s, select.EPOLLIN | select.EPOLLET)
        yield "idle", polled(s), ["OUT"]
        yield "no edge", edges.poll(0), []
        for word in ("one", "two"):
            world.tell(word)
            world.wait()
            yield f"edge for {word}", [event for _, event in edges.poll(20)], [select.EPOLLIN]
            yield f"no second edge for {word}", edges.poll(0), []
            yield f"events with {word}", polled(s), ["IN", "OUT"]
        yield "words", receive(s, 6).decode(), "onetwo"
        yield "idle again", polled(s), ["OUT"]
        world.tell("")
        world.wait()
        readable(s)
        yield "events at the end", polled(s), ["IN", "OUT", "RDHUP"]
        yield "end", s.recv(1).decode(), ""
        yield "end again", s.recv(1).decode(), ""


@behaviour(
    "data.time-outs",
    "SO_RCVTIMEO and SO_SNDTIMEO bound recv and send on the descriptor: EAGAIN.",
    "2 setsockopt at other levels",
    peer="does_not_read",
    plain=True,
)
def time_outs(world: World) -> Iterator[tuple[Any, ...]]:
    moment = struct.pack("=qq", 0, MOMENT_MS * 1000)
    with world.connected() as s:
        world.wait()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, moment)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, moment)
        yield "recv", outcome(s.recv, 1), "EAGAIN"
        yield "get", s.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16).hex(), moment.hex()
        sent = fill(s, 64 * MIB)
        yield "send", outcome(s.send, bytes(MIB)), "EAGAIN"
        world.tell(sent)
        world.wait()


@in_both_roles(
    "data.threads",
    "One thread may read while another writes and a third asks for options.",
    DATA,
    peer="echoes",
    plain=True,
)
def threads(world: World) -> Iterator[tuple[Any, ...]]:
    data = pattern(MIB)
    names = []
    with world.connected() as s:
        writer = threading.Thread(target=s.sendall, args=(data,))
        asker = threading.Thread(target=lambda: names.extend(s.getpeername()[0] for _ in range(50)))
        writer.start()
        asker.start()
        back = receive(s, len(data))
        writer.join()
        asker.join()
    yield "echo", digest(back), digest(data)
    yield "names", sorted(set(names)), ["127.0.0.1"]
    yield "asked", len(names), 50
