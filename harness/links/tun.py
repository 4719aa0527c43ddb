"""TUN devices that pass packets on as large as the kernel makes them (linux/if_tun.h)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct

from harness.links.interface import LinkUnavailableError

DEVICE = "/dev/net/tun"
_TUNSETIFF, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_TUN_F = 0x01 | 0x02 | 0x04 | 0x08  # CSUM, TSO4, TSO6, TSO_ECN: nothing is cut up, no check sum is computed
_SIOCETHTOOL = 0x8946  # linux/sockios.h
_ETHTOOL = {"checksum": 0x16, "tso": 0x1E}  # ETHTOOL_GTXCSUM, ETHTOOL_GTSO: linux/ethtool.h
_VIRTIO_HEADER_BYTES = 10  # struct virtio_net_hdr, linux/virtio_net.h


def make(name: str) -> int:
    """Make a TUN device in the caller's namespace.

    It lives as long as the descriptor, which does not block.  LinkUnavailableError when it cannot be made.
    """
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unavailable(error) from error
    try:
        flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode("ascii"), flags))
        fcntl.ioctl(descriptor, _TUNSETVNETHDRSZ, struct.pack("i", _VIRTIO_HEADER_BYTES))
        fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _TUN_F)
    except OSError as error:
        os.close(descriptor)
        raise _unavailable(error) from error
    return descriptor


def offloads(name: str) -> dict[str, bool]:
    """What a device of the caller's namespace leaves to its reader, as the kernel says (ethtool)."""
    value = (ctypes.c_uint32 * 2)()
    request = struct.pack("16sP", name.encode("ascii"), ctypes.addressof(value)).ljust(40, b"\0")
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for offload, command in _ETHTOOL.items():
            value[0] = command
            fcntl.ioctl(asking, _SIOCETHTOOL, request)
            found[offload] = bool(value[1])
    return found


def _unavailable(error: OSError) -> LinkUnavailableError:
    if error.errno == errno.EACCES:
        return LinkUnavailableError(
            f"This user may not open {DEVICE} ({error.strerror}); `chmod 666 {DEVICE}` as root, which is how udev makes"
            " it, or a kernel with netem makes it possible."
        )
    return LinkUnavailableError(
        f"A TUN device cannot be made here ({error.strerror}); a kernel with TUN (`modprobe tun`), {DEVICE} in"
        " this container and CAP_NET_ADMIN make it possible."
    )
