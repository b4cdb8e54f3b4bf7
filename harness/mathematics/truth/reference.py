"""Where no exact value is known: the same moments from a long run of draws, with its standard error, labelled as such.

The run is in float64, has its own seed and knows nothing of the estimators' draws; a normal q is drawn at scrambled
Sobol points, which are spread more evenly. Its "bound" is 4.4 standard errors
(one normal deviate in 10⁵ lies outside), by the delete-one jackknife over its chunks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.mathematics.draws import Draw, along, seed_generator
from harness.mathematics.families import Family, Leaf
from harness.mathematics.objectives import Objective, Upstream, holds_log_density, known_gradient_of
from harness.mathematics.pilot import scores
from harness.mathematics.truth.bounded import Bounded, FloatArray, nonnegative
from harness.mathematics.truth.choice import LEAST_CARRIED, Choice, Means, Trust, carried_by, choose_gradient
from harness.mathematics.truth.data_points import pull, whole_gradient
from harness.mathematics.truth.moments import ROUNDING, SCORE_MOMENTS, LeafMoments, Moments, zero_like
from harness.mathematics.truth.quasi import quasi_draws
from harness.mathematics.truth.resolved import unresolved
from harness.vocabulary.errors import TruthRefused
from harness.vocabulary.seeds import seed_of

#: Standard errors that a reference value is given to.
DEVIATES = 4.4
CHUNKS = 64
#: How many times more draws are taken where a gradient is a mean of scores: along no path, and so far less precise.
MORE = 4
#: Numbers drawn to see whether float64 resolves them.
SCOUTS = 2**15
PATH_MOMENTS = ("path_mean", "path_variance", "landing_mean", "landing_variance")
MOMENTS = ("gradient", *SCORE_MOMENTS, *PATH_MOMENTS)

Sums = dict[str, FloatArray]


def reference_draws(family: Family) -> int:
    """Draws of a reference run, a power of two: 2¹⁴ to 2¹⁷, about 2²² coordinates; with data points 2¹⁵."""
    wanted = 2**15 if family.batch_shape else min(2**17, max(2**14, 2**22 // family.coordinates))
    return 1 << (wanted.bit_length() - 1)


def reference_moments(family: Family, objective: Objective, key: str, trust: Trust) -> Moments:
    """All moments of cost, score and path of a problem without an exact answer.

    The gradient is the path's mean for the leaves whose path is trusted, else ``E[cs]``.
    Raises: TruthRefused for draws that float64 cannot resolve.
    """
    check_resolved(family, key)
    trusted = all(leaf.name in trust.paths for leaf in family.leaves)
    size = reference_draws(family) * (1 if trusted else MORE) // CHUNKS
    with torch.random.fork_rng(devices=[]), np.errstate(over="ignore", invalid="ignore"):
        origin: float | None = None
        chunks: list[Sums] = []
        for index in range(CHUNKS):
            chunks.append(sums_of(family, objective, size, origin, seed_of("reference", key, index)))
            origin = float(chunks[0]["origin"])
        stacked = {name: np.stack([chunk[name] for chunk in chunks]) for name in chunks[0] if name != "origin"}
        run = Run(family, objective, trust, size * CHUNKS, stacked, float(chunks[0]["origin"]))
        return assembled(run)


@dataclass(frozen=True)
class Run:
    """What a run leaves: sums by chunk, the origin that f was taken from, and what may be believed of it."""

    family: Family
    objective: Objective
    trust: Trust
    draws: int
    stacked: Sums
    origin: float

    @property
    def label(self) -> str:
        """How the values were computed."""
        return f"reference run of {self.draws} draws, ± {DEVIATES} standard errors"


def check_resolved(family: Family, key: str) -> None:
    """Raises: TruthRefused for draws that float64 cannot resolve."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed_of("reference", key, "resolved"))
        z = family.sample(family.rows(max(64, SCOUTS // family.coordinates), torch.float64, grad=False), 1)
    reason = unresolved(family, z)
    if reason:
        raise TruthRefused(reason)


def sums_of(family: Family, objective: Objective, size: int, origin: float | None, seed: int) -> Sums:
    """Means over one chunk of ``f, f², s, fs, s², fs², f²s, f²s², p, p²`` with f taken from ``origin``.

    p is the whole derivative; ``l``, ``l²``: the path's part of it, where f holds log q.
    """
    theta = family.rows(size, torch.float64)
    given = quasi_draws(family, theta, seed)
    seed_generator("cpu", seed)
    draw = Draw(family, objective, 1, theta, differentiable=family.has_rsample, given=given)
    cost = draw.cost[0]
    start = float(cost.mean()) if origin is None else origin
    f = beside(cost - start, theta).numpy()
    s = np.concatenate([score.flatten(1).numpy() for score in scores(draw).values()], axis=1)
    path = paths(draw, s.shape[1])
    p = path + s if holds_log_density(objective) else path
    of_score = {"s": s, "fs": f * s, "ss": s**2, "fss": f * s**2, "ffs": f**2 * s, "ffss": (f * s) ** 2}
    columns = {"f": f, "ff": f**2, **of_score, "p": p, "pp": p**2, "l": path, "ll": path**2}
    means = {name: column.mean(0) for name, column in columns.items()}
    peaks = {"fs peak": columns["ffss"].max(0), "l peak": columns["ll"].max(0)}
    return {**means, **peaks, "origin": np.asarray(start)}


def beside(values: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
    """A number per estimate, [R] → [R, 1]; or one per data point, put beside its scalars of θ, [R, *B] → [R, P]."""
    if values.ndim == 1:
        return values[:, None]
    return torch.cat([along(values, leaf.ndim).expand_as(leaf).flatten(1) for leaf in theta.values()], 1)


def paths(draw: Draw, width: int) -> FloatArray:
    """Pathwise gradients [R, P]; zero where there is no path."""
    if not (draw.differentiable and draw.pathwise_cost.requires_grad):
        return np.zeros((draw.replicates, width))
    leaves = list(draw.theta.values())
    found = torch.autograd.grad(draw.pathwise_cost.sum(), leaves, allow_unused=True)
    filled = [(torch.zeros_like(leaf) if g is None else g).flatten(1) for leaf, g in zip(leaves, found, strict=True)]
    return np.concatenate([g.numpy() for g in filled], axis=1)


def about_the_mean(raw: Mapping[str, FloatArray]) -> Sums:
    """Moments of ``c = f − E f`` and ``t = s − E s`` from plain means, along any leading axes."""
    m, s, variance = raw["f"], raw["s"], raw["ff"] - raw["f"] ** 2
    ccs = raw["ffs"] - 2 * m * raw["fs"] + m**2 * s
    ccss = raw["ffss"] - 2 * m * raw["fss"] + m**2 * raw["ss"]
    return {
        "mean": m,
        "variance": variance,
        "s": s,
        "cs": raw["fs"] - m * s,
        "ss": raw["ss"],
        "css": raw["fss"] - m * raw["ss"],
        "ccss": ccss,
        "tt": raw["ss"] - s**2,
        "cctt": ccss - 2 * s * ccs + s**2 * variance,
        "path_mean": raw["p"],
        "path_variance": raw["pp"] - raw["p"] ** 2,
        "landing_mean": raw["l"],
        "landing_variance": raw["ll"] - raw["l"] ** 2,
    }


def with_errors(stacked: Sums) -> dict[str, Bounded]:
    """Values from all chunks, errors from leaving out one at a time."""
    total = {name: chunks.mean(0) for name, chunks in stacked.items()}
    left_out = {name: (CHUNKS * total[name] - chunks) / (CHUNKS - 1) for name, chunks in stacked.items()}
    values, others = about_the_mean(total), about_the_mean(left_out)
    errors = {name: np.sqrt((CHUNKS - 1) * others[name].var(0)) for name in values}
    known = {name: np.where(np.isfinite(values[name]), values[name], np.nan) for name in values}  # overflow: not known
    found = {name: Bounded(known[name], DEVIATES * errors[name]) for name in values}
    # differences, of which a constant score, or a path at the exact posterior, leaves nothing but rounding
    for central, plain in (("tt", "ss"), ("cctt", "ccss"), ("landing_variance", "path_variance")):
        found[central] = nonnegative(found[central] + Bounded(np.zeros(1), ROUNDING * np.abs(known[plain])))
    return found


def assembled(run: Run) -> Moments:
    """Moments by leaf, each of the leaf's shape."""
    family, found = run.family, with_errors({n: x for n, x in run.stacked.items() if not n.endswith("peak")})
    choices = chosen(run, found)
    leaves = {}
    for leaf, place in places(family):
        shape, choice = tuple(leaf.value.shape), choices[leaf.name]
        own: dict[str, Any] = {n: shaped(found[n][place], shape) for n in MOMENTS if n != "gradient"}
        own["gradient"] = shaped(choice.gradient, shape)
        if not holds_log_density(run.objective):
            own = {name: value for name, value in own.items() if not name.startswith("landing")}
        if not run.trust.moving:
            own |= {"s": zero_like(own["s"]), "tt": own["ss"], "cctt": own["ccss"]}
        own |= {n: own[n] * math.nan for n in ("css", "ccss", "cctt") if choice.score_carried < LEAST_CARRIED}
        reason = ""
        if not family.has_rsample:
            reason = f"{family.target.__name__} is not reparameterizable"
        elif choice.path_carried < LEAST_CARRIED:
            reason = f"{choice.path_carried:.0f} draws carry the variance of the path: too heavy a tail"
        if reason:
            own = {name: value for name, value in own.items() if name not in PATH_MOMENTS}
        leaves[leaf.name] = LeafMoments(**own, path_reason=reason, gradient_reason=choice.reason)
    mean, variance = (of_data_points(found[name], family) for name in ("mean", "variance"))
    contradicted = {name: choice.contradiction for name, choice in choices.items() if choice.contradiction}
    moments = whole_gradient(
        Moments(mean + run.origin, variance, leaves, run.label, run.trust.moving, contradicted=contradicted),
        run.objective,
    )
    along_path = all(choice.along_path for choice in choices.values())
    return replace(moments, upstream=upstream_gradient(family, run.objective, run.stacked, along_path))


def places(family: Family) -> Iterator[tuple[Leaf, slice]]:
    """Every leaf with its place among the P scalars of θ."""
    start = 0
    for leaf in family.leaves:
        yield leaf, slice(start, start + leaf.value.numel())
        start += leaf.value.numel()


def shaped(number: Bounded, shape: tuple[int, ...]) -> Bounded:
    """Value and error in a shape."""
    return Bounded(number.value.reshape(shape), number.error.reshape(shape))


def chosen(run: Run, found: Mapping[str, Bounded]) -> dict[str, Choice]:
    """The gradient of every leaf, along the path or by the score; nothing of a cost that never varied."""
    entries = run.family.parameter_count
    carried = {
        name: carried_by(run.stacked[square].mean(0), run.stacked[f"{name} peak"].max(0), run.draws)
        for name, square in (("fs", "ffss"), ("l", "ll"))
    }
    size = np.sqrt(run.stacked["ll"].mean(0))
    choices = {}
    for leaf, place in places(run.family):
        means = Means(
            found["cs"][place], found["landing_mean"][place], carried["fs"][place], carried["l"][place], size[place],
            DEVIATES, CHUNKS,
        )  # fmt: skip
        choice = choose_gradient(leaf.name, means, run.trust, entries)
        if (found["variance"].value <= 0).all():
            unknown = Bounded(means.score.value * math.nan, means.score.error)
            choice = Choice(unknown, False, f"the cost did not vary over {run.draws} draws")
        choices[leaf.name] = replace(
            choice, score_carried=float(means.score_carried.min()), path_carried=float(means.path_carried.min())
        )
    return choices


def upstream_gradient(family: Family, objective: Objective, stacked: Sums, along_path: bool) -> dict[str, Bounded]:
    """Of weights behind the leaves: every chunk's gradient is pulled back, so that the error is that of their mean.

    The bound ``|Jᵀ| e`` of the leaves' own errors, as if all were at their ends at once, would be many times larger.
    """
    if not (isinstance(objective, Upstream) and objective.upstream):
        return {}
    rows = stacked["l"] if along_path else stacked["fs"] - stacked["f"].mean(0) * stacked["s"]  # [CHUNKS, P]
    parts, known = dict[str, FloatArray](), known_gradient_of(objective)
    for leaf, place in places(family):
        own = rows[:, place].reshape(CHUNKS, *leaf.value.shape)
        parts[leaf.name] = own + (known[leaf.name].numpy() if leaf.name in known else 0.0)
    each = pull(objective, parts)
    return {objective.upstream: Bounded(each.mean(0), DEVIATES * each.std(0, ddof=1) / math.sqrt(CHUNKS))}


def of_data_points(found: Bounded, family: Family) -> Bounded:
    """What stands beside every scalar of θ, once for each data point [*B, 1(, 1)]; a single number without any."""
    if not family.batch_shape:
        return found[0]
    leaf, batch = family.leaves[0].value, family.batch_shape
    shape = (*batch, *[1] * (leaf.ndim - len(batch)))
    return Bounded(*(x[: leaf.numel()].reshape(*batch, -1)[..., 0].reshape(shape) for x in (found.value, found.error)))
