"""Bytes of a control message: a fixed little-endian header, then the value.

    u32 request | u16 kind | u16 flag | i32 first | i32 second | value ...

Fixed and flat so that a boundary in C writes it with one struct.  Whatever cannot be read raises
:class:`MalformedMessage` and nothing else.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from ..abi import MAX_VALUE_BYTES
from .messages import (
    AskEnd,
    Bind,
    Claim,
    Connect,
    GetName,
    GetOption,
    Hello,
    Keep,
    Listen,
    Message,
    Refusal,
    Reply,
    Reset,
    SetByPath,
    SetOption,
    Upgrade,
)

HEADER = struct.Struct("<IHHii")
MAX_MESSAGE_BYTES = HEADER.size + MAX_VALUE_BYTES


class MalformedMessage(Exception):
    """These bytes are no control message."""


class MessageKind(IntEnum):
    """The second field of the header."""

    HELLO = 1
    SET_OPTION = 2
    GET_OPTION = 3
    BIND = 4
    CONNECT = 5
    GET_NAME = 6
    REFUSAL = 7
    REPLY = 8
    RESET = 9
    KEEP = 10
    LISTEN = 11
    UPGRADE = 12
    CLAIM = 13
    ASK_END = 14
    SET_BY_PATH = 15


def encode(message: Message) -> bytes:  # noqa: PLR0912  # one branch for each message
    """Return the bytes of one message."""
    match message:
        case Hello(request, family, pid, watches):
            fields = (request, MessageKind.HELLO, int(watches), family, pid, b"")
        case SetOption(request, level, name, value, by_file):
            fields = (request, MessageKind.SET_OPTION, int(by_file), level, name, value)
        case SetByPath(request, name, path, errno):
            fields = (request, MessageKind.SET_BY_PATH, 0, name, errno, path)
        case GetOption(request, level, name, size):
            fields = (request, MessageKind.GET_OPTION, 0, level, name, struct.pack("<I", size))
        case Bind(request, address):
            fields = (request, MessageKind.BIND, 0, 0, 0, address)
        case Connect(request, address, blocking):
            fields = (request, MessageKind.CONNECT, int(blocking), 0, 0, address)
        case Listen(request, backlog):
            fields = (request, MessageKind.LISTEN, 0, backlog, 0, b"")
        case Upgrade(request, hostname, blocking):
            fields = (request, MessageKind.UPGRADE, int(blocking), 0, 0, hostname)
        case Claim(request):
            fields = (request, MessageKind.CLAIM, 0, 0, 0, b"")
        case AskEnd(request):
            fields = (request, MessageKind.ASK_END, 0, 0, 0, b"")
        case GetName(request, peer):
            fields = (request, MessageKind.GET_NAME, int(peer), 0, 0, b"")
        case Refusal(request, errno, text):
            fields = (request, MessageKind.REFUSAL, 0, errno, 0, text.encode())
        case Reply(request, errno, value):
            fields = (request, MessageKind.REPLY, 0, errno, 0, value)
        case Keep(request):
            fields = (request, MessageKind.KEEP, 0, 0, 0, b"")
        case Reset(request):
            fields = (request, MessageKind.RESET, 0, 0, 0, b"")
    return HEADER.pack(*fields[:5]) + fields[5]


def decode(data: bytes) -> Message:  # noqa: PLR0912
    """Return the message in ``data``; raise :class:`MalformedMessage` for anything else."""
    if not HEADER.size <= len(data) <= MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"{len(data)} bytes cannot be a control message")
    request, kind, flag, first, second = HEADER.unpack_from(data)
    value = data[HEADER.size :]
    match kind:
        case MessageKind.HELLO:
            return Hello(request, first, second, bool(flag))
        case MessageKind.SET_OPTION:
            return SetOption(request, first, second, value, bool(flag))
        case MessageKind.SET_BY_PATH:
            return SetByPath(request, first, value, second)
        case MessageKind.GET_OPTION:
            return GetOption(request, first, second, _size(value))
        case MessageKind.BIND:
            return Bind(request, value)
        case MessageKind.CONNECT:
            return Connect(request, value, bool(flag))
        case MessageKind.LISTEN:
            return Listen(request, first)
        case MessageKind.UPGRADE:
            return Upgrade(request, value, bool(flag))
        case MessageKind.CLAIM:
            return Claim(request)
        case MessageKind.ASK_END:
            return AskEnd(request)
        case MessageKind.GET_NAME:
            return GetName(request, bool(flag))
        case MessageKind.REFUSAL:
            return Refusal(request, first, value.decode("utf-8", "replace"))
        case MessageKind.REPLY:
            return Reply(request, first, value)
        case MessageKind.RESET:
            return Reset(request)
        case MessageKind.KEEP:
            return Keep(request)
    raise MalformedMessage(f"control message of unknown kind {kind}")


def _size(value: bytes) -> int:
    if len(value) != 4:
        raise MalformedMessage("get-option message without a size")
    size: int = struct.unpack("<I", value)[0]
    return size
