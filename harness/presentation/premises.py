"""What the truth of these problems and every verdict on their estimators stands on, and where it was found broken."""

from __future__ import annotations

from harness.presentation.collect import RecordSet
from harness.presentation.markdown import table
from harness.presentation.numbers import plural
from harness.vocabulary.premises import BROKEN, HOLD, LEVEL

WORDS: dict[str, str] = {str(name): words for name, words in BROKEN.items()}


def premises_section(records: RecordSet) -> list[str]:
    """What every truth and verdict here stands on, and where it was found not to hold."""
    checked = records.frame[records.frame["premises"] != ""]
    parts = ["## Premises"]
    if checked.empty:
        return [*parts, "No premise was recorded with these rows."]
    parts.append(
        f"Checked for every problem, at a level of {LEVEL:g} over all of its premises: the density integrates to "
        "1 on a support that does not move unsaid, the sampler and the path follow the density, the cost is continuous "
        f"where it says so. All hold in {int((checked['premises'] == HOLD).sum())} of {plural(len(checked), 'row')}."
    )
    broken = checked[checked["premises"] != HOLD]
    body = [
        [f"{q} × {f}", parameter, ", ".join(WORDS.get(name, name) for name in str(names).split()), str(len(group))]
        for (q, f, parameter, names), group in broken.groupby(["q", "f", "parameter", "premises"], sort=False)
    ]
    return [*parts, table(["q × f", "θ", "broken", "rows"], body, 3)] if body else parts
