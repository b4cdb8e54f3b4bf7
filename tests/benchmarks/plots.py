"""Figures: everybody beside the harness on every problem, time against R, N and D, memory against R and N · D."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.presentation.figures.style import GREY, Drawing, log_axes, look, new_canvas, styled, tick, words
from harness.presentation.numbers import number
from tests.benchmarks.fits import Fit, slope_past_overhead
from tests.benchmarks.reading import Benchmarks
from tests.benchmarks.sections import SUBJECTS
from tests.benchmarks.subjects import FLOOR, HARNESS, JAX, LOOP, PYRO, TOGETHER, VMAP
from tests.benchmarks.targets import FLAT, SETTINGS
from tests.benchmarks.tasks import PATH, SCORE

LOOKS = {
    HARNESS: ("#000000", "|"),
    TOGETHER: ("#56B4E9", "s"),
    FLOOR: (GREY, "<"),
    JAX: ("#D55E00", "o"),
    VMAP: ("#0072B2", "D"),
    LOOP: ("#009E73", "v"),
    PYRO: ("#CC79A7", "P"),
}
SMALLEST = 0.1  # MiB on a logarithmic axis
LABELS = {"R": "replicates R", "N": "samples N", "D": "coordinates D", "ND": "N · D"}


def peers_figure(benchmarks: Benchmarks) -> Drawing | None:
    """Times relative to the harness's, one line per problem and estimator, at one thread."""
    rows = relative(benchmarks, "1")
    if rows.empty:
        return None
    lines = list(rows[["title", "estimator"]].drop_duplicates().itertuples(index=False, name=None))
    with styled():
        canvas = new_canvas(8.5, 1.4 + 0.28 * len(lines))
        axes = canvas.subplots()
        axes.set_xscale("log")
        axes.axvline(1, color="black", lw=1.2, label=SUBJECTS[HARNESS])
        place = rows.apply(lambda r: -lines.index((r["title"], r["estimator"])), axis=1)
        for subject in [s for s in SUBJECTS if s in set(rows["subject"])]:
            mine = rows["subject"] == subject
            color, marker = LOOKS[subject]
            label = SUBJECTS[subject].replace("`", "")
            axes.plot(rows.loc[mine, "ratio"], place[mine], marker, color=color, label=label, markersize=6)
        axes.set_yticks([-i for i in range(len(lines))], [f"{title}: {words(e)}" for title, e in lines], fontsize=8)
        axes.xaxis.set_major_formatter(lambda value, _: tick(value))
        axes.set_xlabel("time of one estimate ÷ the harness's (left of 1: faster)")
        canvas.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    alt = "Time of one gradient estimate relative to the harness, by problem and subject, logarithmic axis."
    caption = f"Everybody's time relative to the harness's, {SETTINGS['1']}; medians of the rounds' ratios."
    return Drawing(canvas, rows, alt, caption)


def relative(benchmarks: Benchmarks, threads: str) -> pd.DataFrame:
    """Medians of ratios to the harness with their quartiles."""
    rows = []
    for problem in benchmarks.problems:
        for t in (t for t in benchmarks.timings if t.problem == problem and t.threads == threads):
            ratio = benchmarks.times_harness(t)
            if ratio is not None and t.subject != HARNESS:
                rows.append(
                    (t.problem, t.title, t.estimator, t.subject, t.microseconds, ratio.median, ratio.low, ratio.high)
                )
    columns = ["problem", "title", "estimator", "subject", "microseconds", "ratio", "ratio_q1", "ratio_q3"]
    return pd.DataFrame(rows, columns=columns)


def scaling_figure(benchmarks: Benchmarks) -> Drawing | None:
    """Time against R, N and D, with the slopes past the overhead."""
    frame = benchmarks.scaling
    if frame.empty:
        return None
    axes_of = list(frame["axis"].unique())
    with styled():
        canvas = new_canvas(3.1 * len(axes_of), 3.2)
        panels = np.atleast_1d(canvas.subplots(1, len(axes_of)))
        for panel, axis in zip(panels, axes_of, strict=True):
            whole = axis == "R"
            unit = 1e3 if whole else 1e6
            lines(panel, frame[frame["axis"] == axis], "seconds", unit)
            panel.set_xlabel(LABELS[axis])
            panel.set_ylabel("time of the measurement (ms)" if whole else "time of one estimate (µs)")
            panel.legend(loc="upper left")
    alt = f"The harness's time against {', '.join(axes_of)}, one panel each, on logarithmic axes, with fitted slopes."
    caption = (
        "The harness's time against R (anchor), N (D = 20) and D (N = 1), one thread; bars: quartiles of the rounds. "
        "Lines and slopes: least squares on logarithms over the points that cost at least 5 times the cheapest."
    )
    return Drawing(canvas, frame, alt, caption)


def memory_figure(benchmarks: Benchmarks) -> Drawing | None:
    """Growth of the peak against R and N · D."""
    frame = benchmarks.memory
    if frame.empty:
        return None
    axes_of = list(frame["axis"].unique())
    with styled():
        canvas = new_canvas(4.4 * len(axes_of), 3.3)
        panels = np.atleast_1d(canvas.subplots(1, len(axes_of)))
        for panel, axis in zip(panels, axes_of, strict=True):
            part = frame[frame["axis"] == axis]
            if axis == "ND":
                lines(panel, part.dropna(subset=["tensors"]), "tensors", 1.0, "tensors, ")
            else:
                panel.set_xscale("log")
            resident(panel, part)
            panel.set_xlabel(LABELS[axis])
            panel.set_ylabel("peak memory beyond a small block's (MiB)")
            panel.legend(loc="upper left", fontsize=7.5)
    alt = f"The harness's peak memory against {' and '.join(LABELS[axis] for axis in axes_of)}, one panel each."
    caption = (
        "Growth of the peak beyond a process that has measured one small block: of the resident set (hollow), and "
        "against N · D (D = 100, four draws) also of the bytes in tensors by torch's profiler, with the slope past the "
        "overhead."
    )
    return Drawing(canvas, frame, alt, caption)


def resident(panel: Axes, part: pd.DataFrame) -> None:
    """Resident set, hollow; on a logarithmic axis what is below a tenth of a MiB is drawn there."""
    for estimator in (PATH, SCORE):
        rows = part[part["estimator"] == estimator]
        color, marker = look(estimator, [])
        values = rows["resident"].clip(lower=SMALLEST)
        panel.plot(
            rows["value"], values, marker, color=color, markerfacecolor="white", linestyle=":", lw=0.9,
            label=f"resident, {words(estimator)}",
        )  # fmt: skip
    if panel.get_yscale() == "linear":
        panel.axhline(FLAT, color=GREY, lw=0.9, linestyle="--", label=f"most that counts as flat ({FLAT:g} MiB)")
        panel.set_ylim(0, max(1.4 * float(part["resident"].max()), 1.6 * FLAT))
    else:
        panel.set_ylim(bottom=0.8 * SMALLEST)


def lines(panel: Axes, part: pd.DataFrame, column: str, unit: float, prefix: str = "") -> None:
    """Points of each estimator, and its fit where there is one."""
    log_axes(panel)
    for estimator in (PATH, SCORE):
        rows = part[part["estimator"] == estimator]
        if rows.empty:
            continue
        color, marker = look(estimator, [])
        fit = slope_past_overhead(list(rows["value"]), list(rows[column]))
        slope = f", slope {number(fit.slope)}" if fit else ""
        panel.plot(rows["value"], unit * rows[column], marker, color=color, label=f"{prefix}{words(estimator)}{slope}")
        if {"low", "high"} <= set(rows):
            panel.vlines(rows["value"], unit * rows["low"], unit * rows["high"], color=color, lw=0.9)
        if fit:
            fitted(panel, fit, float(rows["value"].max()), unit, color)
    low, high = panel.get_ylim()
    panel.set_ylim(low, high * 6)  # room for the legend


def fitted(panel: Axes, fit: Fit, end: float, unit: float, color: str) -> None:
    """The line of a fit over the points that it was made from."""
    x = np.array([fit.start, end])
    panel.plot(x, unit * np.array([fit.at(value) for value in x]), color=color, lw=1, alpha=0.7)


DRAWERS = {"peers": peers_figure, "scaling": scaling_figure, "memory": memory_figure}
