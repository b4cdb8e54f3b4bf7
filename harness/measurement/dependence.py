"""Whether the rows of a user's own estimator are independent estimates: asked where it is measured, at its N."""

from __future__ import annotations

from harness.mathematics.estimators import ESTIMATORS, Estimator
from harness.mathematics.replicates import why_no_estimates
from harness.measurement.sampling import Situation
from harness.vocabulary.errors import failure_text


def dependence(situation: Situation, estimator: Estimator) -> str:
    """Why the rows of a user's own estimator are not independent estimates, what it raises included; or nothing."""
    if estimator.target in ESTIMATORS:
        return ""
    asked = situation.family, situation.objective, situation.built
    try:
        reason = why_no_estimates(estimator, asked, situation.samples, situation.baselines)
    except Exception as error:
        return failure_text(error)
    return f"estimator {estimator.name}: {reason}" if reason else ""
