"""What a remote "hostname" may be."""

from __future__ import annotations

import ipaddress


def is_ip_address(name: str) -> bool:
    """Whether a remote "hostname" is an address: then the certificate must carry it, and no SNI is sent."""
    if not name[-1:].isdigit() and ":" not in name:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
