"""What the harness promises of its speed, and whether these benchmarks bear it out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.fits import slope_past_overhead
from tests.benchmarks.reading import Benchmarks, Spread, Timing
from tests.benchmarks.subjects import FLOOR, HARNESS, JAX, LOOP, OWN
from tests.benchmarks.tasks import PATH, SCORE

ANCHOR = "anchor"
#: Times slower than the harness that JAX has to be, and should be; the same of the Python loop.
JAX_LEAST, JAX_AIM, LOOP_LEAST = 1.0, 1.5, 500.0
#: Times the random numbers alone that the harness may take, and should take at most.
FLOOR_MOST = {PATH: (3.5, 2.0), SCORE: (5.0, 3.0)}
SLOPE_LOW, SLOPE_HIGH = 0.9, 1.1
#: MiB that the peak may grow by over three decades of R.
FLAT = 16.0
MET, AIM_MISSED, MISSED, UNKNOWN = "met", "met, aim missed", "missed", "not measured"
SETTINGS = {"1": "one thread", "all": "all cores", "cuda": "CUDA"}


@dataclass(frozen=True)
class Target:
    """One promise: what it is of, what is wanted, what was found."""

    what: str
    wanted: str
    found: Spread | None
    verdict: str

    @property
    def words(self) -> str:
        """The verdict, in bold where it is bad news."""
        return f"**{self.verdict}**" if self.verdict == MISSED else self.verdict


def targets(benchmarks: Benchmarks) -> list[Target]:
    """All promises, in the order of the table."""
    found = []
    for threads in benchmarks.threads:
        for estimator in (PATH, SCORE):
            found += anchor_targets(benchmarks, threads, estimator)
    return [*found, *slope_targets(benchmarks), *memory_targets(benchmarks)]


def anchor_targets(benchmarks: Benchmarks, threads: str, estimator: str) -> Iterator[Target]:
    """JAX, the random numbers and the Python loop, on the anchor problem."""

    def timing(subject: str) -> Timing | None:
        return benchmarks.find(threads, ANCHOR, estimator, subject)

    where = f"{estimator}, {SETTINGS[threads]}"
    most, aim = FLOOR_MOST[estimator]
    jax = benchmarks.times_harness(timing(JAX))
    yield Target(f"JAX ÷ harness, {where}", f"> {JAX_LEAST:g}, aim ≥ {JAX_AIM:g}", jax, least(jax, JAX_LEAST, JAX_AIM))
    floor = benchmarks.ratio(timing(HARNESS), timing(FLOOR))
    yield Target(
        f"harness ÷ random numbers alone, {where}", f"≤ {most:g}, aim ≤ {aim:g}", floor, at_most(floor, most, aim)
    )
    loop = benchmarks.times_harness(timing(LOOP))
    yield Target(f"Python loop ÷ harness, {where}", f"≥ {LOOP_LEAST:g}", loop, least(loop, LOOP_LEAST, LOOP_LEAST))


def least(found: Spread | None, limit: float, aim: float) -> str:
    """Verdict on a ratio that should be large."""
    if found is None:
        return UNKNOWN
    if found.median < limit:
        return MISSED
    return MET if found.median >= aim else AIM_MISSED


def at_most(found: Spread | None, limit: float, aim: float) -> str:
    """Verdict on a ratio that should be small."""
    if found is None:
        return UNKNOWN
    if found.median > limit:
        return MISSED
    return MET if found.median <= aim else AIM_MISSED


def slope_targets(benchmarks: Benchmarks) -> Iterator[Target]:
    """Time grows as R, N and D."""
    for (axis, estimator), points in benchmarks.scaling.groupby(["axis", "estimator"], sort=False):
        fit = slope_past_overhead(list(points["value"]), list(points["seconds"]))
        yield slope_target(f"slope of time in {axis}, {estimator}", None if fit is None else fit.slope)


def slope_target(what: str, slope: float | None) -> Target:
    """A slope that should be 1."""
    wanted = f"{SLOPE_LOW:g} to {SLOPE_HIGH:g}"
    if slope is None:
        return Target(what, wanted, None, UNKNOWN)
    verdict = MET if SLOPE_LOW <= slope <= SLOPE_HIGH else MISSED
    return Target(what, wanted, Spread(slope, slope, slope), verdict)


def memory_targets(benchmarks: Benchmarks) -> Iterator[Target]:
    """Peak memory does not grow with R, and grows as N · D."""
    for (axis, estimator), points in benchmarks.memory.groupby(["axis", "estimator"], sort=False):
        if axis == "ND":
            fit = slope_past_overhead(list(points["value"]), list(points["tensors"]))
            yield slope_target(f"slope of memory in tensors in N · D, {estimator}", None if fit is None else fit.slope)
            continue
        growth = float(points["resident"].iloc[-1] - points["resident"].iloc[0])
        verdict = MET if growth <= FLAT else MISSED
        what = f"MiB by which the resident peak grows over three decades of R, {estimator}"
        yield Target(what, f"≤ {FLAT:g}", Spread(growth, growth, growth), verdict)


@dataclass(frozen=True)
class Win:
    """A peer that was faster than the harness. ``ratio``: its time over the harness's."""

    timing: Timing
    harness: Timing
    ratio: Spread


def wins(benchmarks: Benchmarks) -> list[Win]:
    """Wherever a peer took less time than the harness, by the median of the rounds' ratios."""
    found = []
    for timing in benchmarks.timings:
        harness = benchmarks.find(timing.threads, timing.problem, timing.estimator, HARNESS)
        ratio = benchmarks.times_harness(timing)
        if timing.subject not in OWN and ratio is not None and harness is not None and ratio.median < 1:
            found.append(Win(timing, harness, ratio))
    return found
