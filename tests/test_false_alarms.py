"""The false-alarm rate of the whole bias verdict, and its power at the same settings: ``python -m tests.false_alarms``.

At a family-wise level of 10⁻³, more than 2 of 200 clean sweeps are accused with probability 1.1e-3 if the level holds;
at 5 %, more than 22 with probability 1.9e-4. This file would fail once in about 750 runs of a correct harness, were its
seeds not fixed.
"""

from __future__ import annotations

from functools import cache

import pytest
from scipy import stats

from harness.judgement.bias import FAMILY_LEVEL
from tests.false_alarms import LOOSE, SWEEPS, Outcome, outcome

pytestmark = pytest.mark.slow

MOST_ALARMS, MOST_LOOSE_ALARMS = 2, 22


@cache
def measured() -> Outcome:
    found = outcome(SWEEPS)
    print(f"\n{found.text()}")
    return found


def test_innocent_sweeps_are_not_accused() -> None:
    found = measured()
    assert found.sweeps >= 200
    assert found.cells >= 100
    assert found.speaking > 0.6  # silence is no way out
    assert found.alarms <= MOST_ALARMS
    assert found.loose_alarms <= MOST_LOOSE_ALARMS
    assert found.interval(found.alarms)[1] <= 0.036  # Clopper and Pearson's upper bound at 2 of 200


def test_known_biases_are_caught_in_every_sweep() -> None:
    found = measured()
    assert len(found.caught) == 12
    assert set(found.caught.values()) == {found.sweeps}
    assert found.standardized[1] < 0.1  # what a row that speaks can see at R = 4096


def test_the_bounds_are_what_the_docstring_says() -> None:
    assert stats.binom.sf(MOST_ALARMS, SWEEPS, FAMILY_LEVEL) == pytest.approx(1.1e-3, rel=0.05)
    assert stats.binom.sf(MOST_LOOSE_ALARMS, SWEEPS, LOOSE) == pytest.approx(1.9e-4, rel=0.05)
    assert stats.binomtest(MOST_ALARMS, SWEEPS).proportion_ci(0.95, "exact").high <= 0.036
