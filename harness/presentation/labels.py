"""What to call a problem, a method and a cell, and in which order they are shown, whatever order records come in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import pandas as pd

from harness.judgement.accuracy import by_reference_run
from harness.judgement.bias import MEASURED
from harness.presentation.numbers import number
from harness.vocabulary.records import KEY

DISTRIBUTIONS = (
    "normal", "lognormal", "exponential", "gamma", "beta", "dirichlet", "laplace", "student_t", "weibull", "gumbel",
    "uniform", "uniform_from_zero", "bernoulli", "categorical", "poisson", "geometric", "weights_start",
    "weights_trained",
)  # fmt: skip
OBJECTIVES = (
    "quadratic", "linear", "exponential", "cosine", "step", "logistic_regression", "vae", "vae_bernoulli",
    "vae_categorical",
)  # fmt: skip
ESTIMATORS = (
    "score_function", "score_function_baseline", "score_function_leave_one_out", "score_function_optimal_baseline",
    "score_function_moving_average", "reparameterized", "reparameterized_explicit",
    "reparameterized_sticking_the_landing",
)  # fmt: skip
DEVICES = ("cpu", "cuda", "mps")
KNOWN_ORDER = {
    "distribution": DISTRIBUTIONS, "objective": OBJECTIVES, "estimator": ESTIMATORS, "device": DEVICES,
}  # fmt: skip
#: Rows are shown by problem, then N, then parameter, then estimator.
SHOWN_ORDER = (
    "distribution", "objective", "device", "dtype", "seed", "distribution_parameters", "objective_parameters",
    "dimension", "samples", "parameter", "estimator", "estimator_parameters",
)  # fmt: skip
#: Estimators whose baseline knows the problem from a pilot.
ORACLES = ("score_function_baseline", "score_function_optimal_baseline")
ORACLE_MARK = "°"
RUN_MARK = "≈"
BIASED_MARK = "†"
ORACLE_NOTE = (
    f"{ORACLE_MARK} oracle baseline: its b knows the problem from a pilot (column `pilot_evaluations`), which a "
    "training run would have to pay for again at every step."
)


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of show: known names first as listed here, others by name."""
    ranked = pd.DataFrame(index=frame.index)
    for name in SHOWN_ORDER:
        listed = KNOWN_ORDER.get(name, ())
        if listed:
            ranked[name + " rank"] = [listed.index(v) if v in listed else len(listed) for v in frame[name]]
        ranked[name] = frame[name]
    order = ranked.sort_values(list(ranked.columns), kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def with_labels(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds ``q``, ``f`` and ``method``: names, with whatever tells variants of one name apart in these records."""
    measured = frame[frame["status"].isin(MEASURED)]
    basis = frame if measured.empty else measured
    place = places(frame, basis)
    q = variants(frame, basis, "distribution", "distribution_parameters")
    method = variants(frame, basis, "estimator", "estimator_parameters")
    return frame.assign(
        q=[label + where for label, where in zip(q, place, strict=True)],
        f=variants(frame, basis, "objective", "objective_parameters", within=["distribution"]),
        method=[
            label + (ORACLE_MARK if name in ORACLES else "")
            for label, name in zip(method, frame["estimator"], strict=True)
        ],
    )


def places(frame: pd.DataFrame, basis: pd.DataFrame) -> list[str]:
    """Device, dtype and seed as far as they differ within these records."""
    differing = [name for name in ("device", "dtype", "seed") if basis[name].nunique() > 1]
    if not differing:
        return [""] * len(frame)
    texts = []
    for row in frame[differing].itertuples(index=False, name=None):
        words = [f"seed {v}" if name == "seed" else str(v) for name, v in zip(differing, row, strict=True)]
        texts.append(f" ({', '.join(words)})")
    return texts


def variants(
    frame: pd.DataFrame, basis: pd.DataFrame, name: str, options: str, within: Sequence[str] = ()
) -> list[str]:
    """The name alone where it has one set of options in ``basis``, else with the options that differ.

    ``within``: columns within which options are compared; a family may bring its own k for the same objective.
    """
    columns = [*within, name]
    differing = {key: differing_options(group[options].unique()) for key, group in basis.groupby(columns, sort=False)}
    keys = frame[columns].itertuples(index=False, name=None)
    return [key[-1] + option_text(text, differing.get(key, ())) for key, text in zip(keys, frame[options], strict=True)]


def parsed(text: str) -> Mapping[str, object]:
    """Options from compact JSON; none where they cannot be read."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def differing_options(texts: Iterable[str]) -> tuple[str, ...]:
    """Names of options that have more than one value."""
    all_options = [parsed(text) for text in texts]
    names = sorted({name for options in all_options for name in options})
    return tuple(n for n in names if len({json.dumps(o.get(n), sort_keys=True) for o in all_options}) > 1)


def option_text(text: str, names: Iterable[str]) -> str:
    """``(scale=2, k=0.45)`` of the named options."""
    options = parsed(text)
    shown = [f"{name}={short(options.get(name))}" for name in names]
    return f"({', '.join(shown)})" if shown else ""


def short(value: object) -> str:
    """An option's value, a long list abbreviated."""
    if isinstance(value, list):
        return "[" + ", ".join(short(v) for v in value[:4]) + (f", … {len(value)} values]" if len(value) > 4 else "]")
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def options_of(text: str) -> str:
    """All options of one JSON text: ``loc = 1, scale = 1``."""
    return ", ".join(f"{name} = {short(value)}" for name, value in parsed(text).items())


def exact_number(row: pd.Series, name: Literal["gradient", "variance"]) -> str:
    """``exact_gradient`` or ``exact_variance``, marked where it is that of a reference run."""
    mark = RUN_MARK if bool(by_reference_run(row.to_frame().T, name).iloc[0]) else ""
    return mark + number(row[f"exact_{name}"])


def cell_of(row: pd.Series) -> str:
    """Which cell within one q and f: ``D = 100, N = 1, loc``."""
    return f"D = {row['dimension']}, N = {row['samples']}, {row['parameter']}"


def full_cell(row: pd.Series) -> str:
    """Which row of all: ``gamma × quadratic, D = 100, N = 1, rate, score_function``."""
    return f"{row['q']} × {row['f']}, {cell_of(row)}, {row['method']}"


def without_duplicates(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Rows of one key once, the first; and how many were left out."""
    kept = frame.drop_duplicates(list(KEY), keep="first")
    return kept.reset_index(drop=True), len(frame) - len(kept)


def method_order(frame: pd.DataFrame) -> list[str]:
    """Methods in the order of show."""
    known = [e for e in ESTIMATORS if e in set(frame["estimator"])]
    others = sorted(set(frame["estimator"]) - set(known))
    return [m for e in [*known, *others] for m in dict.fromkeys(frame.loc[frame["estimator"] == e, "method"])]
