"""The administrators' pages from nothing to the end, as root and as an ordinary user: every command of them.

They are run on one installation: of the commands that begin both pages each is run once.
"""

from __future__ import annotations

import os
import shutil
import signal
import site
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemons import ROOT
from tests.system.pages import Reader, Step, steps
from tests.system.waiting import PATIENCE_S

PAGES = ROOT / "docs" / "administrators"
PACKAGES = ("ssa_impl", "harness", "webservers", "analysis")
NOBODY = 65_534
needs_systemd = pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="needs the Debian package systemd")
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the pages begin as root"),
    pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs the Debian package python3"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def copy_of_the_repository(to: Path) -> None:
    """Copy what an installation takes, and the examples."""
    for name in (*PACKAGES, "examples", "systemd"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to / name)


def environments(place: Path) -> dict[str, dict[str, str]]:
    """Return root's and an ordinary user's; the packages that an installation would load are the test's own."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    same = {"PATH": path, "LC_ALL": "C.UTF-8", "PYTHONPATH": ":".join(site.getsitepackages())}
    # pip takes what is there and asks nobody
    same |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_COMPILE": "1"}
    same |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    system = {"SSAD_SOCKET": str(place / "run" / "control.sock"), "SSAD_POLICY": str(place / "etc")}
    home = {"HOME": str(place / "home"), "XDG_RUNTIME_DIR": str(place / "home" / "run")}
    return {"#": same | system, "$": same | home}


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """Follows pages below a directory that everybody may enter."""
    place = Path(tempfile.mkdtemp(prefix="first-"))
    place.chmod(0o755)
    for name in ("opt", "etc", "copy", "home", "home/run"):
        (place / name).mkdir(mode=0o755)
    copy_of_the_repository(place / "copy")
    for name in ("home", "home/run"):
        os.chown(place / name, NOBODY, NOBODY)
    # an ordinary user, but one who can read this interpreter and its packages wherever they are
    rights = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    made = Reader(
        {
            "/opt/ssa": str(place / "opt" / "ssa"),
            "/etc/ssa": str(place / "etc"),
            "/home/you": str(place / "home"),
            "8443": str(free_port()),
            "8444": str(free_port()),
        },
        place / "copy",
        environments(place),
        {"$": ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *rights]},
    )
    yield made
    made.close()
    shutil.rmtree(place)


def not_installed(at: Path) -> set[str]:
    """Return which files of the packages, and which units, an installation lacks."""
    (packages,) = at.glob("lib/python3*/site-packages")
    wanted = [path for name in PACKAGES for path in (ROOT / name).rglob("*")]
    wanted = [path for path in wanted if path.is_file() and path.suffix not in {".pyc", ".so"}]
    lacking = [path for path in wanted if not (packages / path.relative_to(ROOT)).exists()]
    units = (ROOT / "systemd").iterdir()
    lacking += [unit for unit in units if not (at / "share" / "ssa" / "systemd" / unit.name).exists()]
    return {str(path.relative_to(ROOT)) for path in lacking}


def test_ten_minutes(reader: Reader) -> None:
    page = list(steps((PAGES / "README.md").read_text("utf-8")))
    assert {step.prompt for step in page} == {"#", "$", ""}
    for step in page:
        if step.what == "ssactl drain":  # faster than a person, who would find the last connection ended
            reader.wait_until_said(step.prompt, "ssactl sessions | grep -c connected", "0")
        reader.follow(step)
    daemons = [process for process in reader.running if "ssad" in str(process.args)]
    assert [daemon.wait(PATIENCE_S) for daemon in daemons] == [0, 0]  # they were drained
    for program in set(reader.running) - set(daemons):
        program.send_signal(signal.SIGTERM)
        program.wait(PATIENCE_S)
    assert not_installed(Path(reader.instead["/opt/ssa"])) == set()


@needs_systemd
def test_the_installation_as_a_service(reader: Reader) -> None:
    """On a system below a directory, which is not running: nobody is told of new units, and nothing is started."""
    system = reader.directory.parent / "system"
    for name in ("usr/bin", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d", "etc/systemd/system"):
        (system / name).mkdir(parents=True)
    here = {f" /{name}": f" {system}/{name}" for name in ("usr/", "etc/systemd/")}
    here |= {name: f"{name} --root={system}" for name in ("systemd-sysusers", "systemd-tmpfiles")}
    here |= {"systemctl daemon-reload": "true", "systemctl enable --now": f"systemctl --quiet --root={system} enable"}
    for step in steps((PAGES / "install.md").read_text("utf-8")):
        if step.what not in reader.done:
            what = step.what
            for there, instead in here.items():
                what = what.replace(there, instead)
            reader.follow(Step(step.prompt, f"{what} 2>&1 | grep -v -e ^Creat -e non-existent", step.text))
    assert "ssad:x:" in (system / "etc" / "passwd").read_text("ascii")
    assert (system / "etc" / "systemd" / "system" / "sockets.target.wants" / "ssad.socket").is_symlink()
    assert {path.name for path in (system / "usr" / "bin").iterdir() if path.exists()} == {"ssa", "ssad", "ssactl"}
    for name, mode in (("etc/ssa/ssa.d", 0o755), ("run/ssad", 0o755), ("var/lib/ssad", 0o700)):
        assert (system / name).stat().st_mode & 0o777 == mode
