"""The argument as a teacher draws it: one smooth f, draws of z, and what each estimator makes of every single draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.presentation.collect import RecordSet
from harness.presentation.figures.style import GREY, LIGHT, LOOKS, Drawing, new_canvas, styled, words
from harness.presentation.labels import parsed
from harness.presentation.numbers import number

Array = NDArray[np.float64]
Function = Callable[[Array, float], Array]
DRAWS, SEED = 300, 0
#: f and f′ of the shipped smooth objectives
SMOOTH: dict[str, tuple[Function, Function]] = {
    "quadratic": (lambda z, k: (z - k) ** 2, lambda z, k: 2 * (z - k)),
    "linear": (lambda z, k: k * z, lambda z, k: np.full_like(z, k)),
    "cosine": (lambda z, k: np.cos(k * z), lambda z, k: -k * np.sin(k * z)),
    "exponential": (lambda z, k: np.exp(-k * z**2), lambda z, k: -2 * k * z * np.exp(-k * z**2)),
}
SHOWN = ("score_function", "score_function_baseline", "reparameterized")


def geometry_figure(records: RecordSet) -> Drawing | None:
    """For the first normal × smooth f of the records, one coordinate of it; None where there is none."""
    rows = records.measured
    rows = rows[
        (rows["distribution"] == "normal") & rows["objective"].isin(list(SMOOTH)) & (rows["parameter"] == "loc")
    ]
    rows = rows[[plain(parsed(text), parsed(k)) for text, k in zip(*columns_of(rows), strict=True)]]
    if rows.empty:
        return None
    row = rows.iloc[0]
    q, options = parsed(row["distribution_parameters"]), parsed(row["objective_parameters"])
    loc, scale, k = (float(v) for v in (q["loc"], q["scale"], options["k"]))  # type: ignore[arg-type]
    return drawing(str(row["objective"]), loc, scale, k)


def columns_of(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Parameters of q and of f."""
    return rows["distribution_parameters"], rows["objective_parameters"]


def plain(q: Any, f: Any) -> bool:
    """Whether every coordinate has the same location, scale and k."""
    return all(isinstance(v, int | float) for v in (q.get("loc"), q.get("scale"), f.get("k")))


def samples_of(objective: str, loc: float, scale: float, k: float) -> pd.DataFrame:
    """Gradient estimates with respect to μ from single draws: ``f s``, ``(f − E f) s`` and ``f′``."""
    f, slope = SMOOTH[objective]
    z = np.sort(loc + scale * np.random.default_rng(SEED).standard_normal(DRAWS))
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    mean = float((weights * f(loc + scale * nodes, k)).sum() / weights.sum())
    score = (z - loc) / scale**2
    values = {"score_function": f(z, k) * score, "score_function_baseline": (f(z, k) - mean) * score}
    return pd.DataFrame({"z": z, "f": f(z, k), **values, "reparameterized": slope(z, k)})


def drawing(objective: str, loc: float, scale: float, k: float) -> Drawing:
    """f and q on the left, estimates against z on the right."""
    data = samples_of(objective, loc, scale, k)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    truth = float((weights * SMOOTH[objective][1](loc + scale * nodes, k)).sum() / weights.sum())
    z = np.linspace(loc - 3.5 * scale, loc + 3.5 * scale, 300)
    name = f"normal({number(loc)}, {number(scale)}) × {objective}, k = {number(k)}, one coordinate"
    with styled():
        canvas = new_canvas(9.5, 4.0)
        left, right = canvas.subplots(1, 2, width_ratios=[1, 1.6])
        left.plot(z, SMOOTH[objective][0](z, k), color="black", label="f(z)")
        density = left.twinx()
        density.fill_between(z, np.exp(-(((z - loc) / scale) ** 2) / 2), color=LIGHT, alpha=0.45, lw=0)
        density.set_ylim(0, 1.5)
        density.set_axis_off()
        left.plot([], [], color=LIGHT, lw=6, label="q(z)")
        left.set_xlabel("z")
        left.legend(loc="upper center")
        for estimator in SHOWN:
            color, marker = LOOKS[estimator]
            right.scatter(
                data["z"], data[estimator], s=12, color=color, marker=marker, alpha=0.6, lw=0, label=words(estimator)
            )
        right.axhline(truth, color=GREY, lw=1, ls="--", label=f"gradient, {number(truth)}")
        right.set_xlabel("z")
        right.set_ylabel("estimate of ∇μ from this one draw")
        right.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        left.set_title("What is averaged", fontsize=10)
        spreads = {estimator: float(data[estimator].std(ddof=1)) for estimator in SHOWN}
        right.set_title(finding(spreads), fontsize=10)
    alt = (
        f"Left: f and the density of q over z, {name}. Right: {DRAWS} single-draw estimates of the gradient of μ "
        f"against z for three estimators. {finding(spreads)}."
    )
    caption = (
        f"What each estimator makes of the same {DRAWS} draws, {name}; dashed: the gradient that all are right about."
    )
    return Drawing(canvas, data, alt, caption)


def finding(spreads: dict[str, float]) -> str:
    """How far single estimates scatter."""
    raw, path = spreads["score_function"], spreads["reparameterized"]
    if path == 0:
        return "Every pathwise estimate is the gradient itself"
    return f"One draw's score-function estimate scatters {number(raw / path)} times as far as the pathwise one"
