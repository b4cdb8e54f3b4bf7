"""One look for all figures: colours and markers that do not depend on each other, a white ground, stable bytes."""

from __future__ import annotations

import io
import math
import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from harness.presentation.labels import ORACLE_MARK, ORACLES
from harness.presentation.numbers import number
from harness.storage.files import write_atomically
from harness.vocabulary.errors import StorageError

RESOLUTION = 200
#: Okabe and Ito's colours, safe for the colour-blind; every estimator has its own marker too.
LOOKS: dict[str, tuple[str, str]] = {
    "score_function": ("#D55E00", "o"),
    "score_function_baseline": ("#0072B2", "s"),
    "score_function_leave_one_out": ("#CC79A7", "D"),
    "score_function_optimal_baseline": ("#009E73", "v"),
    "score_function_moving_average": ("#E69F00", "P"),
    "reparameterized": ("#000000", "^"),
}
OTHER_LOOKS = (("#56B4E9", "X"), ("#7F7F7F", "*"), ("#8C510A", "<"), ("#5E3C99", ">"))
GREY, LIGHT, BAND = "#767676", "#B5B5B5", "#F0E442"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 5,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "harness",
}


@dataclass(frozen=True)
class Drawing:
    """A figure not yet on disk: the canvas, its data, what it shows in words."""

    canvas: Canvas
    data: pd.DataFrame
    alt: str
    caption: str


@dataclass(frozen=True)
class Figure:
    """A figure on disk."""

    path: Path
    alt: str
    caption: str


@contextmanager
def styled() -> Iterator[None]:
    """The harness's own look, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def look(estimator: str, others: list[str]) -> tuple[str, str]:
    """Colour and marker of an estimator; unknown ones take theirs by their place in ``others``."""
    if estimator in LOOKS:
        return LOOKS[estimator]
    return OTHER_LOOKS[others.index(estimator) % len(OTHER_LOOKS)]


def unknown(estimators: pd.Series) -> list[str]:
    """Names that have no look of their own, sorted."""
    return sorted(set(estimators) - set(LOOKS))


def words(estimator: str) -> str:
    """An estimator's name in a legend."""
    text = estimator.replace("_", " ")
    return f"{text} (oracle)" if estimator in ORACLES else text


def method_words(method: str) -> str:
    """A method's label as a legend says it."""
    name, bracket, options = method.removesuffix(ORACLE_MARK).partition("(")
    return words(name) + (f" {bracket}{options}" if bracket else "")


def wrapped(text: str, width: int) -> str:
    """A title over as many lines as it needs."""
    return "\n".join(textwrap.wrap(text, width))


def raised(text: str) -> str:
    """``D^1.8`` with a raised exponent."""
    return re.sub(r"D\^([0-9.−-]+[0-9])", r"$D^{\1}$", text)


def plain_ticks(axes: Axes) -> None:
    """More ticks than the powers of ten on an axis that shows little more than one decade."""
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if high / low < 60:
            steps = (1, 2, 5) if high / low > 8 else (1, 1.5, 2, 3, 4, 5, 7)
            axis.set_major_locator(LogLocator(10, subs=steps, numticks=12))


def log_axes(axes: Axes) -> None:
    """Both axes logarithmic, ticks written as plain numbers where they are few digits."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10, numticks=9))
        axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        axis.set_minor_formatter(NullFormatter())


def tick(value: float) -> str:
    """``0.001``, ``10 000`` or ``10⁶``."""
    if 1e-3 <= value < 1e4:
        return number(value)
    exponent = f"{value:e}".split("e")[1]
    return "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def save(drawing: Drawing, path: Path) -> Figure:
    """PNG and CSV, no dates and no versions inside. Raises: StorageError."""
    buffer = io.BytesIO()
    with styled():
        FigureCanvasAgg(drawing.canvas)
        drawing.canvas.savefig(buffer, format="png", dpi=RESOLUTION, metadata={"Software": None})
    write_atomically(path.with_suffix(".csv"), drawing.data.to_csv(index=False, lineterminator="\n"))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(buffer.getvalue())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; choose another folder") from None
    return Figure(path, drawing.alt, drawing.caption)


def new_canvas(width: float, height: float) -> Canvas:
    """A canvas of so many inches."""
    return Canvas(figsize=(width, height), dpi=RESOLUTION, layout="constrained")


def small_multiples(
    panels: int, columns: int, cell: tuple[float, float], xlabel: str, *, below: float, least: tuple[float, float]
) -> tuple[Canvas, list[Axes]]:
    """A grid of ``panels`` axes that share x, labelled in the last one of each column.

    ``cell``: inches of one panel; ``below``: height for title and legend; ``least``: smallest size of the whole.
    """
    columns = min(columns, panels)
    lines = math.ceil(panels / columns)
    canvas = new_canvas(max(least[0], cell[0] * columns), max(least[1], cell[1] * lines + below))
    grid = list(canvas.subplots(lines, columns, sharex=True, squeeze=False).flat)
    for axes in grid[panels:]:
        axes.set_visible(False)
    for axes in grid[max(0, panels - columns) : panels]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(xlabel)
    return canvas, grid[:panels]


def legend_handles(panels: list[Axes]) -> dict[str, Line2D]:
    """Label → line, of all that is labelled in any panel."""
    lines = [line for axes in panels for line in axes.get_lines()]
    return {str(line.get_label()): line for line in lines if not str(line.get_label()).startswith("_")}


def main_objective(frame: pd.DataFrame) -> str:
    """The objective that families are compared on: quadratic where it is there, else the first."""
    names = list(frame["objective"].unique())
    return "quadratic" if "quadratic" in names else str(names[0])


def first_parameters(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of each problem's first parameter."""
    first = frame.groupby(["q", "f"], sort=False)["parameter"].transform("first")
    rows: pd.DataFrame = frame[frame["parameter"] == first]
    return rows
