"""How figures look, and how they become bytes.

Colours are Okabe and Ito's, which people with colour-blind eyes tell apart; dashes and markers carry the same
distinctions again, so that a grey print loses nothing.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.frames import Scenario

Format = Literal["png", "svg", "pdf"]
FORMATS: tuple[Format, ...] = ("png", "svg", "pdf")
PNG_DPI = 200
FEW_POINTS = 60
FEW_LEVELS = 20
SMALL = 7.5  # points
CHARACTERS_AN_INCH = 17  # of small text
NAME_WIDTH = 26

BLUE, SKY = "#0072B2", "#56B4E9"
VERMILION, ORANGE = "#D55E00", "#E69F00"
GREEN, PURPLE, BLACK, GREY = "#009E73", "#CC79A7", "#000000", "#8A8A8A"
GREY_TEXT = "#444444"

ARM_COLOURS = (VERMILION, BLUE)  # baseline, other
ARM_MARKERS = ("s", "o")
ARM_DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = ((0, (4, 1.6)), "solid")

RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,
    "savefig.dpi": PNG_DPI,
    "svg.fonttype": "path",
    "svg.hashsalt": "analysis",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

METADATA: dict[Format, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw and render inside this."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


def canvas(width_in: float, height_in: float) -> Figure:
    """An empty figure with a canvas of its own (no pyplot, no display)."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def render(figure: Figure, kind: Format) -> bytes:
    """The figure as a file's content; no date, no version, no random identifier."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format=kind, metadata=METADATA[kind])
    return buffer.getvalue()


def count_axis(axes: Axes) -> None:
    """The x axis counts processes: from 0, whole numbers."""
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("Number of Processes")


def points(count: int) -> dict[str, Any]:
    """How scattered points look: many small and pale, few large and dark."""
    is_few = count <= FEW_POINTS
    size, alpha = (24, 0.9) if is_few else (9, 0.55)
    return {"s": size, "alpha": alpha, "linewidths": 0, "rasterized": not is_few, "zorder": 3 if is_few else 2}


def zero_line(axes: Axes) -> None:
    """Where there is no difference."""
    axes.axhline(0, color=BLACK, linewidth=0.8)


def mark(figure: Figure, scenario: Scenario) -> None:
    """Say what was measured, above everything else, so that the picture can stand alone."""
    title = textwrap.fill(scenario.title, round(CHARACTERS_AN_INCH * figure.get_figwidth()))
    figure.suptitle(title, x=0.01, ha="left", fontsize=SMALL, color=GREY_TEXT)
    synthetic_mark(figure, scenario.is_synthetic)


def common_legend(figure: Figure, axes: Sequence[Axes], **look: Any) -> None:
    """One legend for all panels, below them; each name once."""
    found: dict[str, Any] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(found.values(), found.keys(), loc="outside lower left", **{"ncols": 4, **look})


def wrapped(name: str, characters: int = NAME_WIDTH) -> str:
    """An arm's name on as many lines as there is room for; an axis has little."""
    return textwrap.fill(name, characters)


def synthetic_mark(figure: Figure, is_synthetic: bool) -> None:
    """Nobody may take a synthetic figure for a measurement."""
    if is_synthetic:
        figure.text(0.5, 0.5, "SYNTHETIC", ha="center", va="center", rotation=20, fontsize=44, color=GREY, alpha=0.18)
