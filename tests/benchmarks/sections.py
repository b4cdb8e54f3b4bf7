"""The report's sections, from stored benchmarks alone."""

from __future__ import annotations

from harness.presentation.markdown import folded, table
from harness.presentation.numbers import UNKNOWN, interval, number, plural
from tests.benchmarks.reading import Benchmarks, Spread, Timing
from tests.benchmarks.subjects import FLOOR, HARNESS, JAX, LOOP, PYRO, TOGETHER, VMAP
from tests.benchmarks.targets import ANCHOR, MISSED, SETTINGS, targets, wins
from tests.benchmarks.tasks import PATH, SCORE

SUBJECTS = {
    HARNESS: "harness",
    TOGETHER: "harness, all score functions together",
    FLOOR: "random numbers alone",
    JAX: "JAX `jit(vmap(grad))`",
    VMAP: "torch `vmap(grad)`",
    LOOP: "Python loop over `.backward()`",
    PYRO: "Pyro `TraceGraph_ELBO`",
}
FAILED = "failed its check"


def ratio_text(found: Spread | None) -> str:
    """``4.1 [3.9, 4.3]``: median and quartiles; the number alone where there is no spread."""
    if found is None:
        return UNKNOWN
    return number(found.median) if found.low == found.high else interval(found.median, found.low, found.high)


def time_text(timing: Timing | None) -> str:
    """µs per gradient estimate; no time for who failed."""
    if timing is None:
        return UNKNOWN
    return number(timing.microseconds) if timing.counts else FAILED


def verdict_section(benchmarks: Benchmarks) -> str:
    """One sentence: how many promises were kept, and how often a peer won."""
    judged = [t for t in targets(benchmarks) if t.found is not None]
    missed = [t for t in judged if t.verdict == MISSED]
    won = wins(benchmarks)
    kept = f"**{len(judged) - len(missed)} of {plural(len(judged), 'target')} met.**" if judged else "No target judged."
    lost = f" Missed: {'; '.join(t.what for t in missed)}." if missed else ""
    peers = f" A peer was faster {plural(len(won), 'time')} (listed below)." if won else " No peer was faster anywhere."
    return kept + lost + peers


def environment_section(benchmarks: Benchmarks) -> list[str]:
    """Machine, versions, who was absent."""
    parts = []
    for notes in list(benchmarks.settings.values())[:1]:
        versions = ", ".join(f"{name} {text}" for name, text in notes.get("versions", {}).items())
        cores = max(int(n.get("cores", 1)) for n in benchmarks.settings.values())
        parts.append(
            f"{notes.get('processor', 'Unknown processor')}, {plural(cores, 'core')}, GPU: "
            f"{notes.get('gpu', UNKNOWN)}. {versions}. Harness at {notes.get('commit', UNKNOWN)}. "
            f"{notes.get('rounds', UNKNOWN)} rounds of about {number(1e3 * float(notes.get('seconds', 0)))} ms each."
        )
    absent = {who: why for n in benchmarks.settings.values() for who, why in n.get("absent", {}).items()}
    lines = [f"- {SUBJECTS.get(who, who.upper())}: {why}" for who, why in sorted(absent.items())]
    return [*parts, *(["Not measured:\n" + "\n".join(lines)] if lines else [])]


def anchor_section(benchmarks: Benchmarks) -> list[str]:
    """The headline: everybody on the anchor problem."""
    parts = ["## The anchor problem"]
    if ANCHOR not in benchmarks.problems:
        return [*parts, "Not measured."]
    for estimator in (PATH, SCORE):
        parts += [f"### {estimator}", anchor_table(benchmarks, estimator)]
    return parts


def anchor_table(benchmarks: Benchmarks, estimator: str) -> str:
    """One row per subject; for each thread setting the time, and its ratio to the harness and to the floor."""
    headers = ["subject"]
    for threads in benchmarks.threads:
        headers += [f"{SETTINGS[threads]}: µs", "÷ harness", "÷ random numbers"]
    rows = []
    for subject, name in SUBJECTS.items():
        found = [benchmarks.find(threads, ANCHOR, estimator, subject) for threads in benchmarks.threads]
        if not any(found):
            continue
        row = [name]
        for threads, timing in zip(benchmarks.threads, found, strict=True):
            floor = benchmarks.find(threads, ANCHOR, estimator, FLOOR)
            row += [
                time_text(timing),
                ratio_text(benchmarks.times_harness(timing)),
                median_text(benchmarks.ratio(timing, floor)),
            ]
        rows.append(row)
    return table(headers, rows)


def median_text(found: Spread | None) -> str:
    """The median alone."""
    return UNKNOWN if found is None else number(found.median)


def target_section(benchmarks: Benchmarks) -> list[str]:
    """Wanted, measured, verdict."""
    rows = [[t.what, t.wanted, ratio_text(t.found), t.words] for t in targets(benchmarks)]
    return ["## Targets", table(["target", "wanted", "measured", "verdict"], rows)] if rows else []


def wins_section(benchmarks: Benchmarks) -> list[str]:
    """Every problem where a peer took less time."""
    found = wins(benchmarks)
    if not found:
        return ["## Wherever a peer wins", "Nowhere in these benchmarks."]
    rows = [
        [
            w.timing.title, w.timing.estimator, SETTINGS[w.timing.threads], SUBJECTS[w.timing.subject],
            number(w.timing.microseconds), number(w.harness.microseconds), ratio_text(w.ratio),
        ]
        for w in found
    ]  # fmt: skip
    headers = ["problem", "estimator", "threads", "peer", "peer: µs", "harness: µs", "peer ÷ harness"]
    text = (
        "By the median; where the quartiles contain 1 the rounds do not tell who is faster. XLA fuses draw, cost and "
        "moments into a few passes and keeps moments in float32; the harness calls some fifty torch kernels for each "
        "chunk, each a pass over memory, and takes its moments in float64. Where an estimate has many coordinates "
        "(D ≥ 100) those passes are all there is, and where the noise is cheap (Bernoulli) nothing hides them; for a "
        "regression it is the log-sigmoid and its derivative, as two passes over rows × data points."
    )
    return ["## Wherever a peer wins", text, table(headers, rows, 4)]


def problems_section(benchmarks: Benchmarks) -> list[str]:
    """One table per problem: time, and in brackets how many times the harness's."""
    parts = ["## Every problem", "µs per gradient estimate, and in brackets the median ratio to the harness."]
    for problem in benchmarks.problems:
        own = [t for t in benchmarks.timings if t.problem == problem and t.threads in benchmarks.threads]
        if not own:
            continue
        columns = [
            (estimator, threads)
            for estimator in (PATH, SCORE)
            for threads in benchmarks.threads
            if any((t.estimator, t.threads) == (estimator, threads) for t in own)
        ]
        headers = ["subject", *(f"{estimator}, {SETTINGS[threads]}" for estimator, threads in columns)]
        rows = []
        for subject, name in SUBJECTS.items():
            timings = [benchmarks.find(threads, problem, estimator, subject) for estimator, threads in columns]
            if any(timings):
                rows.append([name, *(with_ratio(benchmarks, timing) for timing in timings)])
        parts += [f"### {own[0].title}", table(headers, rows)]
    return parts


def with_ratio(benchmarks: Benchmarks, timing: Timing | None) -> str:
    """``0.245 (0.22)``"""
    ratio = benchmarks.times_harness(timing)
    text = time_text(timing)
    return text if ratio is None or timing is None or timing.subject == HARNESS else f"{text} ({number(ratio.median)})"


def cuda_section(benchmarks: Benchmarks) -> list[str]:
    """The harness and its random numbers on a GPU, where there was one."""
    rows = []
    for problem in benchmarks.problems:
        for estimator in (PATH, SCORE):
            harness, floor = (benchmarks.find("cuda", problem, estimator, s) for s in (HARNESS, FLOOR))
            if harness is not None:
                ratio = ratio_text(benchmarks.ratio(harness, floor))
                rows.append([harness.title, estimator, time_text(harness), time_text(floor), ratio])
    headers = ["problem", "estimator", "harness: µs", "random numbers alone: µs", "ratio"]
    return ["## CUDA", "Timed by the device's own events.", table(headers, rows, 2)] if rows else []


def check_section(benchmarks: Benchmarks) -> list[str]:
    """What each subject had to show first, and what it showed."""
    notes = next(iter(benchmarks.settings.values()), {}).get("check", {})
    failed = [t for t in benchmarks.timings if not t.counts]
    text = (
        "Before its time counts, a subject's mean gradient is held against the exact one, coordinate by coordinate, "
        "and its variance (averaged over coordinates) against the exact one on the logarithm, for every parameter: a "
        f"false accusation has probability {notes.get('level', 0):g} each (Bonferroni over coordinates), beyond a "
        f"relative tolerance of {notes.get('rounding', 0):g} for float32 ({notes.get('gamma', 0):g} for the implicit "
        "derivative of a gamma draw). A variance's standard error comes from the spread between blocks, the subject's "
        "or the harness's, whichever is larger. *reference*: no exact value is known, and the others are held against "
        "the harness. The time of a subject that fails is not shown."
    )
    headers = ["problem", "estimator", "threads", "subject", "chunk", "verdict", "found"]
    rows = [
        [t.problem, t.estimator, SETTINGS[t.threads], SUBJECTS[t.subject], t.chunk, t.check, t.detail or UNKNOWN]
        for t in benchmarks.timings
        if t.subject != FLOOR
    ]
    verdict = "Nobody failed." if not failed else f"**{plural(len(failed), 'failure')}**, marked in the tables above."
    return ["## Checks", text, verdict, folded("Every check", table(headers, rows, 4))] if rows else []
