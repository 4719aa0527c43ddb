"""A small interpreter of classic BPF over ``struct seccomp_data`` (linux/filter.h, seccomp(2)), for tests only."""

from __future__ import annotations

import struct

_INSTRUCTION = struct.Struct("=HBBI")
_DATA = struct.Struct("=iIQ6Q")


class BadProgram(AssertionError):
    """The kernel would refuse this program, or it left its bounds."""


def seccomp_data(number: int, arch: int, arguments: tuple[int, ...]) -> bytes:
    """Return the structure that the kernel gives to a filter."""
    return _DATA.pack(number, arch, 0, *arguments)


def run(program: bytes, data: bytes) -> int:
    """Return what the filter answers."""
    lines = list(_INSTRUCTION.iter_unpack(program))
    accumulator, position = 0, 0
    for _ in lines:  # jumps go forward only: no program runs longer than it is
        if position >= len(lines):
            raise BadProgram("fell off the end")
        code, true, false, k = lines[position]
        position += 1
        match code:
            case 0x20:  # BPF_LD | BPF_W | BPF_ABS
                if k % 4 or k + 4 > len(data):
                    raise BadProgram(f"load at {k}")
                (accumulator,) = struct.unpack_from("=I", data, k)
            case 0x54:  # BPF_ALU | BPF_AND | BPF_K
                accumulator &= k
            case 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
                position += true if accumulator == k else false
            case 0x06:  # BPF_RET | BPF_K
                return int(k)
            case _:
                raise BadProgram(f"instruction {code:#x}")
    raise BadProgram("no return")
