"""The preload boundary: what a library inside the application can get wrong, and what it cannot serve and refuses.

That it behaves as the other boundary does is the conformance suite's business.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ssa_impl.boundary.preload import LIBRARY
from ssa_impl.boundary.preload.build import build
from ssa_impl.cli.generate import HEADER
from tests.certificates import authority
from tests.system.daemons import ROOT, Daemon, environment, ssa_run
from tests.system.servers import BODY, BODY_SHA256, Server, hold, serving, stall, tls, truncate
from tests.system.test_nonblocking import held_back

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def library() -> Path:
    """The library, built from the sources as they are now."""
    return build()


def under(daemon: Path, *command: str) -> list[str]:
    return ssa_run(daemon, *command, boundary="preload")


class Program:
    """A function of ``preload_programs`` in a process of its own."""

    def __init__(self, daemon: Daemon, name: str, arguments: dict[str, object], **more: str) -> None:
        command = [sys.executable, "-m", "tests.system.preload_programs", name, json.dumps(arguments)]
        self.process = subprocess.Popen(
            under(daemon.path, *command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(**more),
            cwd=ROOT,
            text=True,
        )

    def hear(self) -> Any:
        """Wait for what it says next."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the program ended without a word"
        return json.loads(line)

    def go_on(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        """Wait for its result and its end."""
        told = self.hear()["result"]
        assert self.process.wait(20) == 0
        return told

    def close(self) -> None:
        self.process.kill()
        with self.process:
            pass


@contextlib.contextmanager
def started(daemon: Daemon, name: str, **arguments: object) -> Iterator[Program]:
    program = Program(daemon, name, arguments)
    try:
        yield program
    finally:
        program.close()


def run(daemon: Daemon, name: str, **arguments: object) -> Any:
    with started(daemon, name, **arguments) as program:
        return program.result()


def output(daemon: Daemon, *command: str, **more: str) -> tuple[int, str, str]:
    done = subprocess.run(
        under(daemon.path, *command), capture_output=True, text=True, env=environment(**more), timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


# -- programs


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where C programs are put."""
    return tmp_path_factory.mktemp("compiled")


def compile_c(source: str, target: Path, *flags: str) -> str:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    strict = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{HEADER.parent}", "-O2"]
    done = subprocess.run(
        ["gcc", *strict, *flags, str(HERE / source), "-o", str(target)], capture_output=True, text=True, check=False
    )
    if "-static" in flags and "cannot find -lc" in done.stderr:
        pytest.skip("there is no static libc")
    assert (done.returncode, done.stderr) == (0, "")
    return str(target)


def test_a_program_in_c(daemon: Daemon, web: Server, ca: str, compiled: Path) -> None:
    client = compile_c("client.c", compiled / "client")
    size = len(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n") + len(BODY)
    expected = f"{size} bytes, TLS_, 127.0.0.1:{web.port}, size 1\n"
    assert output(daemon, client, str(web.port), ca, "server.ssa.test") == (0, expected, "")
    assert web.word() == "in order"
    failed = "connect: 71 the peer's certificate is not for wrong.example\n"
    assert output(daemon, client, str(web.port), ca, "wrong.example") == (1, failed, "")


def test_a_static_program_is_refused(daemon: Daemon, compiled: Path) -> None:
    client = compile_c("client.c", compiled / "static", "-static")
    sentence = f"ssa: {client} cannot run under the preload boundary: it is statically linked; use --boundary seccomp\n"
    assert output(daemon, client) == (3, "", sentence)


def test_a_program_with_added_privilege_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: nobody else can give a program away")
    program = tmp_path / "true"
    shutil.copy("/bin/true", program)
    os.chown(program, 65534, 65534)
    program.chmod(0o4755)
    code, said, complaint = output(daemon, str(program))
    assert (code, said) == (3, "")
    assert f"{program} cannot run under the preload boundary: it is set-user-ID" in complaint


def test_a_missing_program(daemon: Daemon, tmp_path: Path) -> None:
    assert output(daemon, "/no/such/program") == (127, "", "ssa: /no/such/program: No such file or directory\n")
    assert output(daemon, str(tmp_path)) == (126, "", f"ssa: {tmp_path}: Permission denied\n")


@pytest.mark.parametrize("code", [0, 7, 255])
def test_the_exit_code_is_the_programs(daemon: Daemon, code: int) -> None:
    assert output(daemon, "sh", "-c", f"exit {code}") == (code, "", "")


def test_signals_that_python_ignores_are_as_usual(daemon: Daemon) -> None:
    assert output(daemon, "sh", "-c", "kill -PIPE $$; echo ignored") == (-signal.SIGPIPE, "", "")


def test_what_was_to_be_preloaded_still_is(daemon: Daemon) -> None:
    program = Program(daemon, "environment", {}, LD_PRELOAD="libm.so.6")
    try:
        assert program.result() == [f"{LIBRARY}:libm.so.6", str(daemon.path)]
    finally:
        program.close()


# -- descriptors


def test_a_program_that_closes_what_it_does_not_know(daemon: Daemon, echoing: Server, ca: str) -> None:
    assert run(daemon, "closed_from_below", port=echoing.port, ca=ca) == {
        "were there": True,
        "option": "TLS_",
        "echo": "hello",
        "peer": True,
        "not connected": "ENOTCONN",
        "reused": True,
    }


def test_a_number_that_means_another_file(daemon: Daemon, echoing: Server, ca: str) -> None:
    got = run(daemon, "replaced_by_another_file", port=echoing.port, ca=ca)
    assert got.pop("option") in {"EOPNOTSUPP", "ENOPROTOOPT"}
    assert got == {"read": "pair", "end": "", "close": ""}


def test_sockets_closed_behind_its_back_are_let_go(daemon: Daemon, ca: str) -> None:
    baseline = daemon.descriptors()
    assert run(daemon, "closed_behind_its_back", ca=ca, count=300)["bounded"]
    daemon.settle(baseline)


def test_many_at_once(daemon: Daemon, ca: str) -> None:
    baseline = daemon.descriptors()
    assert run(daemon, "many_at_once", ca=ca, count=200) == 200
    daemon.settle(baseline)


def test_low_numbers_stay_free(daemon: Daemon, ca: str) -> None:
    assert run(daemon, "low_numbers_stay_free", ca=ca) == [0, 1, 2]


def test_unix_sockets_of_the_programs_own(daemon: Daemon, tmp_path: Path) -> None:
    got = run(daemon, "foreign_unix_sockets", directory=str(tmp_path))
    assert got.pop("tls option") in {"EOPNOTSUPP", "ENOPROTOOPT"}
    assert got == {
        "pair ends": "",
        "pair type": socket.SOCK_STREAM,
        "pair domain": socket.AF_UNIX,
        "pair name": "",
        "named": ["named", "", True],
        "errno of a bad descriptor": [-1, 9],
    }


# -- processes


def test_parent_and_child_do_not_mix_their_answers(daemon: Daemon, echoing: Server, ca: str) -> None:
    assert run(daemon, "option_in_a_child", port=echoing.port, ca=ca) == [True, True, "hello"]


def test_another_program_connects_the_socket(daemon: Daemon, echoing: Server, ca: str) -> None:
    assert run(daemon, "connect_in_a_program", port=echoing.port, ca=ca) == "exec 772 hello"


def test_a_half_close_by_another_program_with_the_only_copy(daemon: Daemon, echoing: Server, ca: str) -> None:
    """Both sides have ended before it reads: the daemon must still know the socket, to say that it ended in order."""
    with started(daemon, "half_close_in_a_program", port=echoing.port, ca=ca) as program:
        assert program.hear() == "shut down"
        assert echoing.word() == "in order"
        program.go_on()
        assert program.result() == "hello"


def test_a_child_of_vfork_changes_nothing(daemon: Daemon, echoing: Server, ca: str) -> None:
    assert run(daemon, "vfork_is_no_fork", port=echoing.port, ca=ca) == ["TLS_", "hello", "hello"]


def test_a_child_that_closes_its_copy(daemon: Daemon, echoing: Server, ca: str) -> None:
    assert run(daemon, "parent_closes_listening_child_ends", port=echoing.port, ca=ca) == "hello"


@pytest.mark.parametrize("how", ["recv", "read", "readv", "recvmsg", "recvfrom", "peek"])
def test_a_cut_stream_is_an_error_in_every_call(daemon: Daemon, ca: str, how: str) -> None:
    with serving(tls(truncate)) as server:
        got = run(daemon, "end_of_a_cut_stream", port=server.port, ca=ca, how=how)
        assert server.word() == "truncated by me"
    assert got == ["", "ECONNRESET", "", ""]  # once, as with TCP


@pytest.mark.parametrize("how", ["dup", "child", "program"])
def test_a_cut_stream_is_an_error_under_every_number(daemon: Daemon, ca: str, how: str) -> None:
    with serving(tls(truncate)) as server:
        got = run(daemon, "end_of_a_cut_stream", port=server.port, ca=ca, how=how)
        assert server.word() == "truncated by me"
    assert got == ["", "ECONNRESET"]


@pytest.mark.parametrize("call", ["read", "recv", "recvfrom"])
def test_a_cut_stream_is_an_error_in_a_fortified_program(daemon: Daemon, ca: str, compiled: Path, call: str) -> None:
    reader = compile_c("preload_reader.c", compiled / f"reader-{call}", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2")
    listed = subprocess.run(["nm", "-D", reader], capture_output=True, text=True, check=True).stdout
    assert f"__{call}_chk" in listed
    with serving(tls(truncate)) as server:
        assert output(daemon, reader, str(server.port), ca, call) == (0, "4 bytes, then errno 104\n", "")
        assert server.word() == "truncated by me"


@pytest.mark.parametrize("how", ["here", "dup", "child"])
def test_a_whole_stream_is_none(daemon: Daemon, web: Server, ca: str, how: str) -> None:
    assert run(daemon, "end_of_a_whole_stream", port=web.port, ca=ca, how=how) == BODY_SHA256


@pytest.mark.parametrize("how", ["here", "child", "program"])
def test_a_daemon_that_is_killed_is_no_end_of_file(own_daemon: Daemon, ca: str, how: str) -> None:
    with (
        serving(tls(hold)) as server,
        started(own_daemon, "daemon_is_killed", port=server.port, ca=ca, how=how) as held,
    ):
        assert held.hear() == "connected"
        for pid in [own_daemon.process.pid, *own_daemon.worker_pids()]:
            os.kill(pid, signal.SIGKILL)
        own_daemon.process.wait()
        held.go_on()
        assert held.result() == ["", "ECONNRESET"]
    for left in own_daemon.path.parent.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


# -- threads and signals


def test_other_threads_are_answered_while_one_connects(daemon: Daemon, ca: str) -> None:
    with serving(stall) as server, started(daemon, "options_during_connect", port=server.port, ca=ca) as program:
        assert program.hear() == "connecting"
        server.caller()
        program.go_on()
        assert program.hear() == "asked"
        server.released.set()
        program.go_on()
        got = program.result()
    assert got.pop("connect") in (["EPROTO"], ["ECONNRESET"])
    assert got == {"same": True, "again": "EALREADY", "late": "EOPNOTSUPP", "still waiting": True}


def test_calls_that_tcp_never_interrupts(daemon: Daemon, ca: str) -> None:
    assert run(daemon, "interrupted_without_restart", ca=ca, count=100) == [100, True]


@pytest.mark.parametrize("how", ["connect", "SO_ERROR"])
def test_a_connect_that_was_broken_off_goes_on(daemon: Daemon, ca: str, how: str) -> None:
    gate = threading.Event()
    with (
        serving(held_back(gate)) as server,
        started(daemon, "broken_off_and_taken_up", port=server.port, ca=ca, how=how) as program,
    ):
        assert program.hear() == "connecting"
        server.caller()
        os.kill(program.process.pid, signal.SIGUSR1)
        assert program.hear() == "EINTR"
        gate.set()
        program.go_on()
        assert program.result() == {"first": "EINTR", "second": "", "echo": "hello", "third": "EISCONN"}


def test_a_signal_between_a_call_and_its_wait(daemon: Daemon, ca: str, compiled: Path, tmp_path: Path) -> None:
    """It is not lost: without SA_RESTART it interrupts the wait, with SA_RESTART the call waits on."""
    program = compile_c("preload_signals.c", compiled / "signals", "-rdynamic", "-pthread")
    made = authority().credentials()
    (tmp_path / "chain").write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
    (tmp_path / "key").write_bytes(made.private_key_pem.bytes())
    with serving(stall) as server:
        own = [str(tmp_path / name) for name in ("chain", "key")]
        code, said, complaint = output(daemon, program, str(server.port), *own, ca)
    assert (code, complaint) == (0, "")
    assert said.splitlines() == [
        "listen: ok, handled 0, waited 0",
        "accept: EINTR, handled 1, waited 1",
        "accept beside another thread: EINTR, handled 1, waited 1",
        "looked at 1 handler",  # each look is time in which another thread can be given the signal
        "connect: EINTR, handled 1, waited 1",
        "waits on: ok, handled 1, waited 1",
    ]


def test_a_handler_may_make_the_same_calls(daemon: Daemon, echoing: Server, ca: str, compiled: Path) -> None:
    program = compile_c("preload_handler.c", compiled / "handler")
    code, said, complaint = output(daemon, program, str(echoing.port), ca)
    assert (code, complaint) == (0, "")
    assert said == "20 connections, every handler was answered\n"


def test_a_daemon_that_is_stopped_leaves_a_program_that_can_be_ended(own_daemon: Daemon, ca: str) -> None:
    """Signals are kept out while a request waits for its answer; those that end the program are not, for long."""
    with started(own_daemon, "waits_for_a_stopped_daemon", ca=ca) as program:
        assert program.hear() == "open"
        stopped = own_daemon.worker_pids()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            program.go_on()
            assert program.hear() == "asking"
            program.process.terminate()
            assert program.process.wait(20) == -signal.SIGTERM
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


def test_a_handler_may_jump_out_of_connect(daemon: Daemon, ca: str, compiled: Path) -> None:
    """What it leaves behind must not keep the daemon at work: the peer sees the end while the program lives on."""
    program = compile_c("preload_jump.c", compiled / "jump")
    with serving(stall) as server:
        command = under(daemon.path, program, str(server.port), ca)
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "out, still answered, another one: ok\n"
                assert server.word() in {"client ended", "client reset"}
                assert process.poll() is None
            finally:
                process.kill()


# -- files


def test_files_are_opened_with_the_programs_own_rights(
    daemon: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: nobody else can give up rights")
    with tempfile.TemporaryDirectory(prefix="ssa-public-") as name:
        public = Path(name)
        public.chmod(0o755)
        for file, mode in (("open", 0o644), ("closed", 0o000)):
            (public / file).write_bytes(authority().anchors_pem)
            (public / file).chmod(mode)
        got = run(daemon, "with_the_rights_of_nobody", paths=[str(public / "open"), str(public / "closed")])
    assert got == [["", ""], ["EACCES", f"{public}/closed: Permission denied"]]
