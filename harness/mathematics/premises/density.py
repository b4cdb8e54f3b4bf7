"""Is q a density on a support that does not move, do its draws follow it, and does its path? Asked without any f.

For each distinct scalar coordinate, with test functions φ (``probes``) and the points and weights of its density:

* ``Σ w = 1``; on a support that is called fixed ``Σ w s = 0``.
* the mean of φ over draws is ``Σ w φ``; draws beside each other are uncorrelated: coordinates, samples, rows.
* the mean of ``φ′ · ∂z/∂θ`` over draws is ``∇_θ E φ = Σ w s φ``, where the support moves a difference of integrals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.premises.draws import filled
from harness.mathematics.premises.findings import SHARE, Finding
from harness.mathematics.premises.nodes import Nodes, moved, nodes_of
from harness.mathematics.premises.probes import Probes, probes_of
from harness.mathematics.truth.bounded import FloatArray
from harness.mathematics.truth.units import Partition, Unit
from harness.vocabulary.errors import TruthRefused

#: Draws looked at, all coordinates together, and least rows of them.
COORDINATES, LEAST_ROWS = 2**16, 2**8
#: Distinct coordinates that are looked at, evenly chosen, and coordinates like one of them.
MOST_UNITS, MOST_ALIKE = 3, 64
#: Deviation of Σw from 1, and of Σws from 0 in standard deviations of s, that quadrature and rounding may leave.
MASS, MEAN = 1e-6, 1e-6
#: Groups of draws that a standard error is taken from.
GROUPS = 64
#: Error granted to a path, relative to E|φ′ ∂z/∂θ|: torch's implicit kernels are good to 1.2e-3.
PATH = 4e-3
#: Step of a difference of integrals, in units of 1/√E s².
STEP = 1e-3


@dataclass(frozen=True)
class Drawn:
    """Draws of q with samples N = 2 [2, R, D], and ∂z/∂θ by leaf in that shape; none where there is no path."""

    z: FloatArray
    paths: Mapping[str, FloatArray]


def draw_from(family: Family, seed: int) -> Drawn:
    """From a seed of their own, in float64. ``∂z_d/∂θ_d``: every draw has a row of θ to itself."""
    rows = max(LEAST_ROWS, COORDINATES // family.coordinates) // 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        theta = family.rows((2, rows), torch.float64)
        z = family.sample(theta, 1)[0]
    if not bool(torch.isfinite(z).all()):
        raise TruthRefused("some draws are not finite")
    return Drawn(z.detach().numpy(), paths_of(z, theta) if family.has_rsample else {})


def paths_of(z: Tensor, theta: Mapping[str, Tensor]) -> dict[str, FloatArray]:
    """Zero for a leaf that the draw's graph does not reach."""
    leaves = list(theta.values())
    found: tuple[Tensor | None, ...] = (None,) * len(leaves)
    if z.requires_grad:
        found = torch.autograd.grad(z.sum(), leaves, allow_unused=True)
    return {name: g.numpy() for name, g in zip(theta, filled(found, leaves), strict=True)}


def check_density(family: Family, units: Partition, seed: int) -> list[Finding]:
    """The first four premises, for coordinates that are scalars. Raises: TruthRefused where they cannot be asked."""
    chosen = np.unique(np.linspace(0, len(units.units) - 1, MOST_UNITS).astype(int))
    drawn = draw_from(family, seed)
    findings = []
    for number in chosen:
        of_unit = np.flatnonzero(units.index == number)[:MOST_ALIKE]
        one = Drawn(drawn.z[..., of_unit], {name: path[..., of_unit] for name, path in drawn.paths.items()})
        findings += check_unit(family, units.units[number], one, tests=len(chosen))
    if any(f.holds is False for f in findings if f.premise == "density_normalized"):
        return merged([f for f in findings if f.premise == "density_normalized"])
    return merged([*findings, *check_independence(units, chosen, drawn)])


def merged(findings: list[Finding]) -> list[Finding]:
    """One finding for each premise and leaf: the first that is broken, else the first that could not be checked."""
    found: dict[tuple[str, str], Finding] = {}
    for f in findings:
        key = f.premise, f.leaf
        if key not in found or (found[key].holds is not False and f.holds is not True):
            found[key] = f
    return list(found.values())


def check_unit(family: Family, unit: Unit, drawn: Drawn, tests: int) -> list[Finding]:
    """One coordinate, and all draws of coordinates like it."""
    nodes = nodes_of(unit)
    mass = nodes.mass
    if not abs(mass - 1) <= MASS:
        return [Finding("density_normalized", False, f"it sums to {mass:.6g} over its support")]
    findings = [Finding("density_normalized", True), check_support(family, unit, nodes)]
    probes = probes_of(nodes)
    if probes is None:
        return [*findings, Finding("sampler_follows_density", None, "float64 cannot resolve where q lies")]
    findings.append(check_sampler(nodes, probes, drawn.z, tests))
    for name, path in drawn.paths.items():
        findings.append(check_path(unit, nodes, probes, name, drawn.z, path, tests))
    return findings


def check_support(family: Family, unit: Unit, nodes: Nodes) -> Finding:
    """``E s = 0`` where the support is called fixed; not to be told of a score whose variance is infinite."""
    if family.moving:
        return Finding("support_fixed", True)
    mean, square = nodes.w @ nodes.s, nodes.w @ nodes.s**2
    if not np.isfinite(square).all():
        return Finding("support_fixed", None, "the score's variance is not finite")
    off = np.abs(mean) > MEAN * np.sqrt(square)
    worst = int(np.argmax(np.abs(mean) / np.sqrt(np.maximum(square, 1e-300))))
    return Finding("support_fixed", not off.any(), f"E ∇log q = {mean[worst]:.4g}" if off.any() else "")


def check_sampler(nodes: Nodes, probes: Probes, z: FloatArray, tests: int) -> Finding:
    """Means of bounded functions over draws, against those of the density: normal deviates."""
    values = probes.values(nodes.z)
    mean = nodes.w @ values
    deviation = np.sqrt(np.maximum(nodes.w @ values**2 - mean**2, 0.0))
    drawn = probes.values(z.reshape(-1)).mean(0)
    excess = np.maximum(np.abs(drawn - mean) - MASS, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z_score = np.where(excess > 0, excess / (deviation / math.sqrt(z.size)), 0.0)
    worst = int(np.argmax(z_score))
    broken = bool(z_score[worst] > stats.norm.isf(SHARE / (4 * tests * probes.count)))
    what = f"the mean of a test function is {drawn[worst]:.4g} over draws and {mean[worst]:.4g} under the density"
    return Finding("sampler_follows_density", not broken, what if broken else "")


def check_path(
    unit: Unit, nodes: Nodes, probes: Probes, leaf: str, z: FloatArray, path: FloatArray, tests: int
) -> Finding:
    """Means of ``φ′ ∂z/∂θ`` over draws, against the gradient of ``E φ``: Student's t over 64 groups of draws."""
    entry = [x.name for x in unit.leaves].index(leaf)
    gradient = gradients_of_means(unit, nodes, probes, entry)
    if gradient is None:
        return Finding("path_follows_density", None, "the gradient of a mean is not known", leaf)
    products = probes.slopes(z.reshape(-1)) * path.reshape(-1, 1)
    mean, error = grouped(products)
    granted = PATH * np.abs(products).mean(0) + MASS * np.abs(gradient)
    excess = np.maximum(np.abs(mean - gradient) - granted, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(excess > 0, excess / error, 0.0)
    worst = int(np.argmax(t))
    broken = bool(t[worst] > stats.t.isf(SHARE / (2 * tests * probes.count * len(unit.leaves)), GROUPS - 1))
    what = f"∇ of the mean of a test function: {mean[worst]:.4g} along the path, {gradient[worst]:.4g} by the density"
    return Finding("path_follows_density", not broken, what if broken else "", leaf)


def grouped(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean over rows and its standard error, from 64 groups of them: [m, J] → [J], [J]."""
    size = len(values) // GROUPS
    means = values[: size * GROUPS].reshape(GROUPS, size, -1).mean(1)
    return means.mean(0), means.std(0, ddof=1) / math.sqrt(GROUPS)


def gradients_of_means(unit: Unit, nodes: Nodes, probes: Probes, entry: int) -> FloatArray | None:
    """``∇ E φ`` [J] with respect to one scalar of θ: ``Σ w s φ``; where E s ≠ 0, a difference of integrals.

    None where the mass is not the same on both sides, or the score's variance is not finite.
    """
    s = nodes.s[:, entry]
    square = float(nodes.w @ s**2)
    if not (np.isfinite(square) and square > 0):
        return None
    if abs(float(nodes.w @ s)) <= MEAN * math.sqrt(square):
        return np.asarray((nodes.w * s) @ probes.values(nodes.z))
    step = STEP / math.sqrt(square)
    try:
        sides = [nodes_of(moved(unit, entry, sign * step)) for sign in (1, -1)]
    except TruthRefused:
        return None
    if any(abs(side.mass - 1) > MASS for side in sides):
        return None
    above, below = (side.w @ probes.values(side.z) for side in sides)
    return np.asarray((above - below) / (2 * step))


def check_independence(units: Partition, chosen: FloatArray, drawn: Drawn) -> list[Finding]:
    """Draws beside each other have uncorrelated φ: samples, rows, and coordinates."""
    pieces = []
    for number in chosen:
        nodes = nodes_of(units.units[number])
        probes = probes_of(nodes)
        if probes is not None:
            values = probes.values(drawn.z[..., np.flatnonzero(units.index == number)[:MOST_ALIKE]])[..., 0]
            off = values - float(nodes.w @ probes.values(nodes.z)[:, 0])
            pieces.append(np.where(np.abs(off) > MASS, off, 0.0))
    if not pieces:
        return []
    v = np.concatenate(pieces, -1)
    products = {
        "samples": v[0] * v[1], "rows": v[:, :-1] * v[:, 1:], "coordinates": v[..., :-1] * v[..., 1:],
    }  # fmt: skip
    critical = float(stats.norm.isf(SHARE / (4 * len(products))))
    for name, product in products.items():
        size = math.sqrt(float(np.square(product).sum()))
        if size > 0 and abs(float(product.sum())) > critical * size:
            return [Finding("sampler_follows_density", False, f"draws of neighbouring {name} depend on each other")]
    return []
