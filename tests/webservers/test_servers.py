"""The real servers, as the harness uses them."""

import functools
import hashlib
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.webservers.https import get
from webservers import (
    Authority,
    Content,
    Credentials,
    NotAvailableError,
    PortInUseError,
    ServerConfig,
    ServerDiedError,
    ServerStartError,
    WebServer,
    WebServerError,
    available,
    make,
)
from webservers.nginx import NginxServer

pytestmark = pytest.mark.system
Configure = Callable[..., ServerConfig]


def run(body: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        with trio.fail_after(60):
            return await body()

    return trio.run(limited)


async def fetch(server: WebServer, path: str, ca: Path, **options: Any) -> Any:
    return await trio.to_thread.run_sync(functools.partial(get, server.address, server.port, path, ca, **options))


def wait_until_gone(pids: list[int]) -> None:
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ready, _, _ = select.select([descriptor], [], [], 20)
        os.close(descriptor)
        assert ready, f"process {pid} is still there"


def test_serves_the_content_and_says_what_it_is(
    kind: str, configure: Configure, content: Content, credentials: Credentials
) -> None:
    async def body() -> None:
        async with make(kind, configure(workers=2)) as server:
            answer = await fetch(server, f"/{content.name}", credentials.ca)
            assert answer.status == 200
            assert hashlib.sha256(answer.body).hexdigest() == content.sha256
            assert answer.headers["content-length"] == str(content.size_bytes)
            assert server.url(content.name) == f"https://server.ssa.test:{server.port}/1MB.bin"
            assert server.offers.versions == ("TLSv1.3",)
            assert server.offers.ciphers["TLSv1.3"].startswith("TLS_")
            assert server.offers.alpn == ("http/1.1",)
            assert server.offers.key_type == "ecdsa-p256"
            description = server.describe()
            assert description["kind"] == kind
            assert kind in str(description["version"])
            pids = server.pids()
            assert pids
            assert server.alive
        assert not server.alive
        assert server.pids() == []
        wait_until_gone(pids)

    run(body)


def test_a_file_that_is_not_there_is_not_found(kind: str, configure: Configure, credentials: Credentials) -> None:
    async def body() -> None:
        async with make(kind, configure()) as server:
            for path in ("/none.bin", "/../credentials/key.pem", "/%2e%2e/run/nginx.conf"):
                assert (await fetch(server, path, credentials.ca)).status in {400, 404}

    run(body)


def test_granian_serves_what_does_not_fit_its_memory(configure: Configure, credentials: Credentials) -> None:
    config = configure()
    large = Content.write(config.document_root, 17_000_000)

    async def body() -> None:
        async with make("granian", config) as server:
            answer = await fetch(server, f"/{large.name}", credentials.ca)
            assert hashlib.sha256(answer.body).hexdigest() == large.sha256
            assert answer.headers["content-length"] == str(large.size_bytes)
            refused = await fetch(server, f"/{large.name}", credentials.ca, method="POST")
            assert refused.status == 405

    run(body)


def test_an_rsa_key(kind: str, configure: Configure, content: Content, tmp_path: Path) -> None:
    rsa = Authority.create("rsa-2048").issue(tmp_path / "rsa", key_type="rsa-2048")

    async def body() -> None:
        async with make(kind, configure(certificate_chain=rsa.chain, private_key=rsa.key)) as server:
            assert server.offers.key_type == "rsa-2048"
            assert (await fetch(server, f"/{content.name}", rsa.ca)).status == 200

    run(body)


def test_tls_versions_can_be_widened(kind: str, configure: Configure) -> None:
    async def body() -> None:
        async with make(kind, configure(tls_min="TLSv1.2")) as server:
            assert server.offers.versions == ("TLSv1.2", "TLSv1.3")

    run(body)


def test_nginx_can_be_kept_to_the_older_version(nginx: str, configure: Configure) -> None:
    async def body() -> None:
        async with make("nginx", configure(tls_min="TLSv1.2", tls_max="TLSv1.2")) as server:
            assert server.offers.versions == ("TLSv1.2",)

    run(body)


def test_granian_cannot_be_and_says_so(configure: Configure) -> None:
    async def body() -> None:
        with pytest.raises(WebServerError, match=r"granian cannot be kept to TLSv1\.2"):
            await make("granian", configure(tls_min="TLSv1.2", tls_max="TLSv1.2")).start()

    run(body)


@pytest.mark.parametrize(
    ("fault", "complaint"), [("expired", "certificate has expired"), ("wrong-name", "Hostname mismatch")]
)
def test_a_wrong_certificate_is_served_and_refused(
    kind: str, configure: Configure, authority: Authority, tmp_path: Path, fault: Any, complaint: str
) -> None:
    wrong = authority.issue(tmp_path / "wrong", fault=fault)

    async def body() -> None:
        async with make(kind, configure(certificate_chain=wrong.chain, private_key=wrong.key)) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match=complaint):
                await fetch(server, "/ready.txt", wrong.ca)

    run(body)


def test_a_certificate_of_another_authority_is_refused(
    kind: str, configure: Configure, content: Content, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(Authority.create().pem)

    async def body() -> None:
        async with make(kind, configure()) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
                await fetch(server, f"/{content.name}", stranger)

    run(body)


def test_a_port_in_use_is_one_sentence(kind: str, configure: Configure) -> None:
    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = make(kind, configure(port=port))
            with pytest.raises(PortInUseError, match=f"127.0.0.1 port {port} is in use by another program") as caught:
                await server.start()
            assert "\n" not in str(caught.value)
            assert not server.alive

    run(body)


def test_a_port_that_was_asked_for_is_used(kind: str, configure: Configure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async def body() -> None:
        async with make(kind, configure(port=port)) as server:
            assert server.port == port

    run(body)


def test_a_chosen_port_that_somebody_takes_meanwhile_is_chosen_again(
    nginx: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server = NginxServer(configure())
            choose, ports = server._take_port, [taken.getsockname()[1]]

            async def take_port() -> int:
                return ports.pop() if ports else await choose()

            monkeypatch.setattr(server, "_take_port", take_port)
            async with server:
                assert server.port != taken.getsockname()[1]
                assert server.alive

    run(body)


def test_no_place_to_work_is_one_sentence(kind: str, configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    async def body() -> None:
        with pytest.raises(ServerStartError, match=f"{kind} has no place to work: Not a directory: .*file/run"):
            await make(kind, configure(run_directory=tmp_path / "file" / "run")).start()

    run(body)


def test_an_address_that_is_not_ours_is_one_sentence(kind: str, configure: Configure) -> None:
    async def body() -> None:
        with pytest.raises(ServerStartError, match=r"cannot listen on 192\.0\.2\.1 port 0: Cannot assign"):
            await make(kind, configure(address="192.0.2.1")).start()

    run(body)


def test_a_server_that_dies_at_once_says_its_last_words(kind: str, configure: Configure, authority: Authority) -> None:
    config = configure()
    other = authority.issue(config.run_directory.parent / "other")

    async def body() -> None:
        server = make(kind, configure(private_key=other.key))
        with pytest.raises(ServerStartError, match=r"(?is)ended before it answered.*It said:.*key"):
            await server.start()
        assert not server.alive
        assert server.pids() == []

    run(body)


def test_a_chain_that_is_no_certificate(kind: str, configure: Configure, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("nothing")

    async def body() -> None:
        with pytest.raises(WebServerError, match=r"junk\.pem does not begin with a certificate in PEM"):
            await make(kind, configure(certificate_chain=junk)).start()

    run(body)


def test_a_server_that_never_answers_is_ended(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        server = make("granian", configure(start_timeout_s=0.3))
        monkeypatch.setattr(server, "_command", lambda _port: [sys.executable, "-c", "import signal; signal.pause()"])
        with pytest.raises(ServerStartError, match=r"did not answer TLS at 127\.0\.0\.1"):
            await server.start()
        assert not server.alive

    run(body)


def test_a_cancelled_start_leaves_nothing(kind: str, configure: Configure) -> None:
    async def body() -> None:
        server = make(kind, configure())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.start)
            while not server.alive:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert not server.alive

    run(body)


def test_watch_tells_a_death_from_an_end(kind: str, configure: Configure) -> None:
    async def body() -> None:
        server = make(kind, configure())
        await server.start()
        os.kill(server.pids()[0], signal.SIGKILL)
        with pytest.raises(ServerDiedError, match=f"{kind} ended while it was needed, with exit status 137"):
            await server.watch()
        await server.stop()
        async with trio.open_nursery() as nursery:
            ended = make(kind, configure())
            await ended.start()
            nursery.start_soon(ended.watch)
            await trio.testing.wait_all_tasks_blocked()
            await ended.stop()

    run(body)


def test_a_server_whose_guard_was_killed_leaves_nobody_behind(kind: str, configure: Configure) -> None:
    async def body() -> None:
        server = make(kind, configure())
        await server.start()
        assert server._process is not None
        everybody = [os.pidfd_open(pid) for pid in server.pids()]
        os.kill(server._process.pid, signal.SIGKILL)
        with pytest.raises(ServerDiedError, match=f"{kind} ended while it was needed"):
            await server.watch()
        await server.stop()
        for descriptor in everybody:
            with trio.fail_after(20):
                await trio.lowlevel.wait_readable(descriptor)
            os.close(descriptor)
        async with make(kind, server.config):  # another one, where this one was
            pass

    run(body)


def test_a_server_starts_once(kind: str, configure: Configure) -> None:
    async def body() -> None:
        server = make(kind, configure())
        with pytest.raises(RuntimeError, match="has not been started"):
            _ = server.port
        with pytest.raises(RuntimeError, match="has not been started"):
            _ = server.offers
        async with server:
            with pytest.raises(RuntimeError, match="started before"):
                await server.start()
        await server.stop()

    run(body)


_HARNESS = """
import signal, sys, trio
from pathlib import Path
from webservers import ServerConfig, make

async def main(kind, root, chain, key, run):
    async with make(kind, ServerConfig(Path(root), Path(chain), Path(key), Path(run))) as server:
        print(server._process.pid, *server.pids(), flush=True)
        await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""


def test_a_server_does_not_outlive_a_killed_harness(kind: str, configure: Configure) -> None:
    config = configure()
    paths = (config.document_root, config.certificate_chain, config.private_key, config.run_directory)
    with subprocess.Popen(
        [sys.executable, "-c", _HARNESS, kind, *map(str, paths)], stdout=subprocess.PIPE, text=True
    ) as harness:
        assert harness.stdout is not None
        pids = [int(pid) for pid in harness.stdout.readline().split()]
        assert len(pids) > 1
        harness.kill()
        harness.wait()
        wait_until_gone(pids)


def test_every_server_is_named_with_what_would_make_it_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one.kind for one in available()} == {"granian", "nginx", "lighttpd", "apache", "caddy"}
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
    lost = next(one for one in available() if one.kind == "nginx")
    assert not lost.usable
    assert "apt install nginx" in lost.reason


def test_an_unknown_server(configure: Configure) -> None:
    with pytest.raises(NotAvailableError, match="There is no server 'iis'; known are granian, nginx, light"):
        make("iis", configure())
