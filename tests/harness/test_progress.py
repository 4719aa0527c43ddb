import io

from rich.console import Console

from harness.progress import Bar, Lines, Now


def said(kind: type[Bar] | type[Lines], total: int) -> str:
    stream = io.StringIO()
    reporter = kind(Console(file=stream, width=200, force_terminal=kind is Bar))
    with reporter:
        for done in range(total):
            reporter.advance(Now(done, total, 60.0 * (total - done), "ssa, n = 7", "medians so far: ssa 3.0 ms", 2))
        reporter.say("[b]not markup[/b]")
    return stream.getvalue()


def test_lines_are_few_and_say_what_is_left() -> None:
    lines = said(Lines, 2000).splitlines()
    assert lines[0] == "0/2000 trials, about 33 h 20 min left; next: ssa, n = 7; medians so far: ssa 3.0 ms; 2 not ok"
    assert len(lines) == 51
    assert lines[-1] == "[b]not markup[/b]"


def test_a_small_campaign_says_every_trial() -> None:
    assert len(said(Lines, 12).splitlines()) == 13


def test_a_bar_says_the_same() -> None:
    text = said(Bar, 3)
    assert "ssa, n = 7" in text
    assert "medians so far: ssa 3.0 ms" in text
    assert "2 not ok" in text
    assert "2/3" in text
    assert "60 s left" in text
    assert "[b]not markup[/b]" in text
