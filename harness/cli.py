"""``python -m harness``: plan, run, resume, check.

Exit codes: 0 all went well; 1 the work itself failed, or the answer cannot be written; 2 bad usage, plan or
directory; 3 this machine cannot do it; 130 SIGINT, 143 SIGTERM.  Nobody sees a traceback for anything that can be said
in a sentence.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from harness import archive as archiving
from harness import check as checking
from harness import recording, runner
from harness.campaign import read_campaign
from harness.errors import HarnessError, UsageError
from harness.forecast import campaign_s, in_words
from harness.links import LinkUnavailableError, rootless
from harness.links.delays import check_netem
from harness.order import in_turn
from harness.plan import PRESETS, Plan, load_file, load_preset, names, parse_changes
from harness.progress import Reporter, reporter
from harness.signals import InterruptedBySignalError, raised_as_exceptions
from harness.stopping import described

T = TypeVar("T")

app = typer.Typer(
    help="Measure two TLS stacks against each other: plan a campaign, run it, go on with it, check it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_AS_A_PROGRAM = object()  # the context's, when this process is ours: it may begin again
_PLAN = "What to run"
_WHERE = "Where"

Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"{', '.join(PRESETS)}, or another plan of this package (default: standard).",
        rich_help_panel=_PLAN,
    ),
]
PlanFile = Annotated[
    str | None,
    typer.Option("--plan", metavar="NAME|FILE", help="The same, or a plan of your own (TOML).", rich_help_panel=_PLAN),
]
Profile = Annotated[
    str | None,
    typer.Option(help="What the clock encloses: sound, transfer, cold-start or paper-2018.", rich_help_panel=_PLAN),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one field; may be repeated.", rich_help_panel=_PLAN),
]
Seed = Annotated[int | None, typer.Option(help="Seed of the trials' order.", rich_help_panel=_PLAN)]
Blocks = Annotated[int | None, typer.Option(help="Number of blocks.", rich_help_panel=_PLAN)]
Link = Annotated[
    str | None,
    typer.Option(
        help="auto, loopback, lan, wan or remote. auto: lan where namespaces can be made.", rich_help_panel=_PLAN
    ),
]
Server = Annotated[
    str | None,
    typer.Option(help="auto, granian, nginx, lighttpd, apache or caddy. auto: granian.", rich_help_panel=_PLAN),
]
Boundary = Annotated[
    str | None,
    typer.Option(
        help="seccomp (default), preload, or both as a factor: how the SSA's clients reach it.", rich_help_panel=_PLAN
    ),
]
Url = Annotated[
    str | None,
    typer.Option(metavar="https://HOST[:PORT]/FILE", help="Measure a remote server.", rich_help_panel=_PLAN),
]
Ssh = Annotated[
    str | None,
    typer.Option(
        "--ssh", metavar="[USER@]HOST", help="Put the server on that host for the campaign.", rich_help_panel=_PLAN
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="PEM of its authority (default: the system's).", rich_help_panel=_PLAN),
]
Far = Annotated[
    bool,
    typer.Option("--far", help="The emulated wan, unless a URL, a host or a link is given.", rich_help_panel=_PLAN),
]
Out = Annotated[
    Path, typer.Option(metavar="DIR", help="The campaign's directory is made in here.", rich_help_panel=_WHERE)
]
Analyse = Annotated[
    bool,
    typer.Option("--analysis/--no-analysis", help="Judge and draw at the end.", rich_help_panel=_WHERE),
]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The campaign's directory.")]


def main() -> None:
    """The program; from here on a signal is an orderly end."""
    try:
        with raised_as_exceptions():
            app(prog_name="python -m harness", obj=_AS_A_PROGRAM)
    except InterruptedBySignalError as error:
        Console(stderr=True).print(f"Interrupted by {error}. Nothing was recorded.", highlight=False)
        sys.exit(error.exit_code)


@app.command()
def plan(
    context: typer.Context,
    *,
    preset: Preset = None,
    file: PlanFile = None,
    settings: Settings = None,
    seed: Seed = None,
    blocks: Blocks = None,
    link: Link = None,
    profile: Profile = None,
    server: Server = None,
    boundary: Boundary = None,
    url: Url = None,
    ssh: Ssh = None,
    ca: Ca = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the trials, their order and the expected duration. Nothing is run."""
    options = {"seed": seed, "blocks": blocks, "link": link, "profile": profile, "server": server, "boundary": boundary}
    chosen = _load(preset, file, settings, {**options, "url": url, "ssh": ssh, "ca": ca})
    if chosen.emulator == "netem":
        _may_make_links(context, chosen)
    if as_json:
        _print_json(chosen)
    else:
        _print_order(chosen)
    if chosen.emulator == "netem":
        _say_what_netem_lacks()


@app.command()
def run(
    context: typer.Context,
    *,
    preset: Preset = None,
    file: PlanFile = None,
    settings: Settings = None,
    seed: Seed = None,
    blocks: Blocks = None,
    link: Link = None,
    profile: Profile = None,
    server: Server = None,
    boundary: Boundary = None,
    url: Url = None,
    ssh: Ssh = None,
    ca: Ca = None,
    far: Far = False,
    out: Out = Path("results"),
    analysis: Analyse = True,
) -> None:
    """Run a campaign in a new directory; with --url against a remote server, with --ssh on a remote host.

    Ctrl-C at any moment loses at most the trial in flight; "resume" goes on.
    """
    options = {"seed": seed, "blocks": blocks, "link": link, "profile": profile, "server": server, "boundary": boundary}
    chosen = _load(preset, file, settings, {**options, "url": url, "ssh": ssh, "ca": ca}, far=far)
    _may_make_links(context, chosen)
    said = reporter()
    at_most = _at_most(chosen)
    expected = f"{at_most}{chosen.trials} trials, {at_most}about {in_words(campaign_s(chosen))}."
    said.say(f"Plan: {chosen.preset}, {expected} {described(chosen)}".rstrip())
    _finish(said, lambda: runner.run(chosen, out, said), analysis=analysis)


@app.command()
def resume(context: typer.Context, directory: Directory, analysis: Analyse = True) -> None:
    """Go on with a campaign that was interrupted: never repeats, never skips."""
    _may_make_links(context, _guarded(lambda: read_campaign(directory)).plan)
    said = reporter()
    _finish(said, lambda: runner.resume(directory, said), analysis=analysis)


@app.command()
def check(directory: Directory) -> None:
    """Say whether a campaign's directory holds: schema, completeness, order, hashes, Parquet."""
    findings = _guarded(lambda: [*archiving.check_sums(directory), *checking.check(directory)])
    for finding in findings:
        _out().print(finding, markup=False, highlight=False, soft_wrap=True)
    if findings:
        raise typer.Exit(UsageError.exit_code)
    _out().print(f"{directory} holds.{checking.not_covered(directory)}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def archive(directory: Directory) -> None:
    """Seal a complete campaign: compress its samples, write SHA256SUMS.  What results/reference is."""
    sums = _guarded(lambda: archiving.archive(directory))
    _out().print(f"{directory} is archived; {sums} lists its files.", markup=False, highlight=False, soft_wrap=True)


@app.command()
def record(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="DIR", help="One directory a claim is made in here.")] = Path(
        "results"
    ),
    *,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="This plan's claim; may be repeated. Default: all.")
    ] = None,
    settings: Settings = None,
    plans: Annotated[Path, typer.Option(metavar="DIR", help="Where the plan files are.")] = recording.PLANS,
    write: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Make the sections 'claims' and 'quote' of this Markdown file anew."),
    ] = None,
) -> None:
    """Record the campaign of every claim, archive it, and make the claim table and DIR/report.html.

    What is recorded already (complete, same plan, same source) is left alone, so after an interruption the same
    command goes on.
    """
    said = reporter()
    dues = _guarded(lambda: recording.claims(only or [], parse_changes(settings or []), plans))
    _may_make_links(context, *(due.plan for due in dues))
    source = recording.source()
    todo = [due for due in dues if not _guarded(lambda due=due: recording.is_recorded(due, out, source))]  # type: ignore[misc]
    expected_s = sum(campaign_s(due.plan) for due in todo)
    said.say(f"{len(dues)} claims, {len(todo)} of them to be recorded, about {in_words(expected_s)}.")
    for due in todo:
        said.say(f"{due.name}: {due.claim.says}")
        path = _guarded(lambda due=due: recording.record(due, out, said, _analyse))  # type: ignore[misc]
        said.say(f"{due.name}: recorded in {path}.")
    files = [argument for file in write or [] for argument in ("--write", str(file))]
    _guarded(lambda: _run_analysis("claims", str(out), "--plans", str(plans), "--report", str(out), *files))


def _load(
    preset: str | None,
    file: str | None,
    settings: list[str] | None,
    options: dict[str, Any],
    *,
    far: bool = False,
) -> Plan:
    """The plan that the options describe."""

    def load() -> Plan:
        if preset is not None and file is not None:
            raise UsageError("Say either --preset or --plan, not both.")
        changes = {key: value for key, value in options.items() if value is not None}
        if "ca" in changes:
            changes["ca"] = str(Path(changes["ca"]).resolve())
        if {"url", "ssh"} & set(changes):
            changes.setdefault("link", "remote")
        changes.update(parse_changes(settings or []))
        if far and file is None and not {"url", "ssh", "link"} & set(changes):
            changes["link"] = "wan"
        if file is not None and file not in names():
            return load_file(Path(file), changes)
        return load_preset(file or preset or "standard", changes)

    return _guarded(load)


def _may_make_links(context: typer.Context, *plans: Plan) -> None:
    """Without the privilege to make the plans' links, begin again where they can be made, if there is such a place."""
    wanted = {"auto", "lan", "wan"} & {kind for one in plans for kind in one.every_link}
    if wanted and context.find_root().obj is _AS_A_PROGRAM and rootless.is_needed() and rootless.is_possible():
        rootless.begin_again()


def _say_what_netem_lacks() -> None:
    """The plan is good, and may be for another machine; on this one ``run`` would end with it."""
    try:
        check_netem()
    except LinkUnavailableError as error:
        text = f"This machine cannot run it: {error}"
        Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def _finish(said: Reporter, work: Callable[[], runner.Ending], *, analysis: bool) -> None:
    """Run ``work``, say how it ended and, when that was well, let the analysis judge."""

    def whole() -> runner.Ending:
        ending = work()
        said.say(f"Recorded {ending.trials} trials in {ending.path}, {ending.not_ok} of them not ok.")
        if analysis:
            _analyse(ending.path)
        return ending

    ending = _guarded(whole, said)
    if ending.given_up:
        _fail(f"{ending.given_up} pairs failed in every attempt; the records say why.", HarnessError.exit_code)


def _analyse(path: Path) -> None:
    _run_analysis("all", str(path))


def _run_analysis(*arguments: str) -> None:
    argv = [sys.executable, "-m", "analysis", *arguments]
    with subprocess.Popen(argv) as running:
        try:
            code = running.wait()
        except InterruptedBySignalError:
            running.terminate()  # it leaves no file half written, which being killed it could
            raise
    if code != 0:
        raise HarnessError(
            f"The analysis failed (exit code {code}); the records are complete."
            f" Try again with: python -m analysis {' '.join(arguments)}"
        )


def _guarded(work: Callable[[], T], said: Reporter | None = None) -> T:
    """Turn every expected end into one sentence and its exit code."""
    try:
        return work()
    except HarnessError as error:
        _fail(f"{error}{_hint(said)}", error.exit_code)
    except OSError as error:
        _fail(f"The operating system refused: {error}.{_hint(said)}", HarnessError.exit_code)
    except InterruptedBySignalError as error:
        _fail(f"Interrupted by {error}.{_hint(said)}", error.exit_code)


def _hint(said: Reporter | None) -> str:
    if said is None or said.campaign is None or not said.campaign.is_dir():
        return ""
    return f"\nWhat was recorded is kept. Go on with: python -m harness resume {said.campaign}"


def _fail(text: str, exit_code: int) -> NoReturn:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(exit_code)


def _out() -> Console:
    return Console()


def _print_json(chosen: Plan) -> None:
    pairs = runner.order_of(chosen)
    content = {
        "plan": chosen.model_dump(mode="json"),
        "plan_sha256": chosen.sha256,
        "expected_s": round(campaign_s(chosen), 1),
        "trials": [asdict(trial) for trial in in_turn(pairs)],
    }
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def _print_order(chosen: Plan) -> None:
    parts = len(chosen.every_link) * len(chosen.every_profile) > 1
    table = Table("block", *(["part"] if parts else []), "pair", "n", "first", "second", box=None)
    for pair in runner.order_of(chosen):
        where = [str(pair.trials[0].part)] if parts else []
        table.add_row(str(pair.block), *where, str(pair.pair), str(pair.n), *(trial.name for trial in pair.trials))
    _out().print(table)
    levels = f"n = {_compressed(chosen.levels)}"
    stacks, at_most = " and ".join(chosen.stacks), _at_most(chosen)
    if len(chosen.boundaries) > 1:
        stacks += f", at {' and '.join(chosen.boundaries)}"
    if parts:
        stacks += f"; each of {', '.join(chosen.every_link)} with each of {', '.join(chosen.every_profile)}"
    _out().print(
        f"Plan {chosen.preset}: {at_most}{chosen.trials} trials ({levels}; {chosen.blocks} blocks;"
        f" {stacks}), seed {chosen.seed}, {at_most}about {in_words(campaign_s(chosen))}. {described(chosen)}".rstrip()
        + f"\nSHA-256 of the plan: {chosen.sha256}",
        highlight=False,
        soft_wrap=True,
    )


def _at_most(chosen: Plan) -> str:
    """Before numbers that are the most there can be, since a rule may end the campaign earlier."""
    return "at most " if chosen.stopping is not None else ""


def _compressed(levels: tuple[int, ...]) -> str:
    """``1 to 100`` for many in a row, else all of them."""
    in_a_row = levels == tuple(range(levels[0], levels[-1] + 1)) and len(levels) > 2
    return f"{levels[0]} to {levels[-1]}" if in_a_row else ", ".join(map(str, levels))
