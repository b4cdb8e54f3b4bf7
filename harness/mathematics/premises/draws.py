"""The premises about q where no quadrature has its points: vectors over categories, supports that are not known.

Over draws alone, with bounded functions φ of one number x, a coordinate of z or a fixed combination of its categories:
``E s = 0``, and ``E[φ s − ∇_θ φ(z(ε; θ))] = 0`` along the path. Over a finite support the outcomes are counted besides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.premises.findings import SHARE, Finding
from harness.mathematics.truth.bounded import FloatArray
from harness.mathematics.truth.discrete import outcomes
from harness.mathematics.truth.resolved import unresolved
from harness.vocabulary.errors import TruthRefused

#: Draws looked at, all coordinates together, least rows, and groups of rows that a standard error is taken from.
COORDINATES, LEAST_ROWS, GROUPS = 2**15, 2**10, 64
#: Least standard error of one entry that is believed, in root mean squares of them all.
LEAST_SPREAD = 0.05
#: Combinations of the categories that are looked at.
COMBINATIONS = 3
#: Errors granted to a path, relative to E|∇φ| (torch's implicit kernels: 1.2e-3), and to a sum of probabilities.
PATH, MASS = 4e-3, 1e-6


def check_by_draws(family: Family, seed: int) -> list[Finding]:
    """The first four premises, as far as draws can tell. Raises: TruthRefused where they are not finite."""
    rows = max(LEAST_ROWS, COORDINATES // family.coordinates) // GROUPS * GROUPS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        theta = family.rows(rows, torch.float64)
        path = family.sample(theta, 1)[0]  # [R, D(, K)]
        combinations = combine(path, family)
    z = path.detach()
    reason = unresolved(family, z) if bool(torch.isfinite(z).all()) else "some draws are not finite"
    if reason:
        raise TruthRefused(reason)
    leaves = list(theta.values())
    log_prob = family.log_prob(theta, z.unsqueeze(0)).sum()
    scores = filled(torch.autograd.grad(log_prob, leaves, allow_unused=True), leaves)
    findings = [*counted(family, z), mean_of_scores(family, theta, scores)]
    if family.has_rsample and not family.moving:
        findings += check_paths(family, theta, scores, combinations)
    return findings


def combine(path: Tensor, family: Family) -> list[Tensor]:
    """x, in units of its own spread about its median, a number for each coordinate: [R, D] each."""
    found = [path]
    if family.unit_shape:
        weights = torch.randn(COMBINATIONS, *family.unit_shape, dtype=torch.float64)
        found = [(path * w).sum(-1) for w in weights]
    return [(x - x.detach().median()) / (x.detach().std() + 1e-300) for x in found]


def filled(found: tuple[Tensor | None, ...], leaves: list[Tensor]) -> list[Tensor]:
    """Zero for a leaf that is not reached."""
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


def counted(family: Family, z: Tensor) -> Iterator[Finding]:
    """Frequencies of the outcomes of a finite support against their probabilities: normal deviates."""
    values = outcomes(family)
    if values is None:
        yield Finding("density_normalized", None, "no quadrature over this support")
        yield Finding("sampler_follows_density", None, "no quadrature over this support")
        return
    weights = log_probs(family, values).exp()  # [S, D]
    mass = float(weights.sum(0)[weights.sum(0).sub(1).abs().argmax()])
    if not abs(mass - 1) <= MASS:
        yield Finding("density_normalized", False, f"it sums to {mass:.6g} over its support")
        return
    yield Finding("density_normalized", True)
    shares = torch.stack([(z == v).all(-1) if v.ndim else z == v for v in values])  # [S, R, D]
    error = (weights * (1 - weights) / shares.shape[1]).clamp(min=1e-300).sqrt()
    off = ((shares.double().mean(1) - weights).abs() - MASS).clamp(min=0) / error
    worst = float(off.max())
    broken = worst > stats.norm.isf(SHARE / (2 * off.numel()))
    yield Finding("sampler_follows_density", not broken, f"an outcome is {worst:.1f} deviations off" if broken else "")


def log_probs(family: Family, values: Tensor) -> Tensor:
    """Of every outcome in every coordinate: [S] or [S, K] → [S, D]."""
    q = family.build(family.rows(len(values), torch.float64, grad=False))
    shape = len(values), family.dimension, *values.shape[1:]
    return q.log_prob(values.unsqueeze(1).expand(shape))


def mean_of_scores(family: Family, theta: Mapping[str, Tensor], scores: list[Tensor]) -> Finding:
    """``E s = 0``, entry by entry of θ; not asked where a support is known to move."""
    if family.moving:
        return Finding("support_fixed", True)
    tests = sum(s[0].numel() for s in scores)
    for name, score in zip(theta, scores, strict=True):
        worst, what = largest_deviate(score, torch.zeros(()))
        if worst > stats.t.isf(SHARE / (2 * tests), GROUPS - 1):
            return Finding("support_fixed", False, f"E ∇log q = {what:.4g} over draws, with respect to {name}")
    return Finding("support_fixed", True)


def check_paths(
    family: Family, theta: Mapping[str, Tensor], scores: list[Tensor], combinations: list[Tensor]
) -> Iterator[Finding]:
    """``E[φ s] = E[∇ φ(z(ε; θ))]`` for every leaf."""
    leaves = list(theta.values())
    worst = dict.fromkeys(theta, (0.0, 0.0))
    probes = [phi(x) for x in combinations for phi in (torch.tanh, bell, hill)]
    for values in probes:
        along: tuple[Tensor | None, ...] = (None,) * len(leaves)
        if values.requires_grad:
            along = torch.autograd.grad(values.sum(), leaves, retain_graph=True, allow_unused=True)
        for name, score, slope in zip(theta, scores, filled(along, leaves), strict=True):
            weight = values.detach()
            products = weight.reshape(*weight.shape, *[1] * (score.ndim - weight.ndim)) * score
            granted = PATH * slope.abs().mean(0)
            worst[name] = max(worst[name], largest_deviate(products - slope, granted))
    tests = len(probes) * sum(s[0].numel() for s in scores)
    critical = float(stats.t.isf(SHARE / (2 * tests), GROUPS - 1))
    for name, (deviate, what) in worst.items():
        why = f"E[φ s] − E[∇φ] = {what:.4g} for a test function φ" if deviate > critical else ""
        yield Finding("path_follows_density", deviate <= critical, why, name)


def bell(x: Tensor) -> Tensor:
    """``exp(−x²/2)``"""
    return torch.exp(-x.square() / 2)


def hill(x: Tensor) -> Tensor:
    """``x exp(−x²/2)``"""
    return x * bell(x)


def largest_deviate(values: Tensor, granted: Tensor) -> tuple[float, float]:
    """Largest |mean| in standard errors over the entries of [R, …], beyond what is granted; and that mean.

    An entry that hangs on an outcome never drawn hardly varies: none is believed to vary less than a twentieth of the
    root mean square of them all.
    """
    groups = values.reshape(GROUPS, -1, *values.shape[1:]).mean(1)
    mean, error = groups.mean(0), groups.std(0) / math.sqrt(GROUPS)
    error = error.clamp(min=LEAST_SPREAD * float(error.square().mean().sqrt()))
    excess = (mean.abs() - granted - 1e-12).clamp(min=0)
    t: FloatArray = torch.where(excess > 0, excess / error, torch.zeros_like(excess)).flatten().numpy()
    place = int(np.argmax(np.nan_to_num(t, posinf=np.inf)))
    return float(t[place]), float(mean.flatten()[place])
