"""What every client of a trial is told: the same for both stacks, but for a delay that the plan injects."""

from __future__ import annotations

from dataclasses import asdict, dataclass

PROXY_ADDRESS = "127.0.0.1"  # at the clients' end of the link


@dataclass(frozen=True)
class Target:
    """One file on one HTTPS server."""

    address: str  # IP literal to connect to; names are resolved before the trial
    port: int
    server_name: str  # what the certificate must be good for; also in the Host header
    path: str  # origin form, begins with "/"
    ca_file: str  # PEM of the only trusted authorities
    size_bytes: int  # of the body
    read_size_bytes: int  # most that one read asks for
    profile: str = "sound"  # what the clock encloses, and whether the server is verified: a harness.records.Profile
    proxy_port: int = 0  # stacks that are proxies: where the local one listens
    held_back_ns: int = 0  # how much later than the release to begin: a delay that the plan injects

    def as_dict(self) -> dict[str, str | int]:
        """For one JSON line."""
        return asdict(self)
