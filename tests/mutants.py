"""Planted faults: small wrong variants of an estimator, of the moments, of the sampler or of the runner.

Each names the setting that it is measured in and the check that must catch it:

* bias: a coordinate's mean gradient against the truth;
* variance: the measured variance against the exact one;
* dependence: how much block means scatter, against replicates and coordinates that are independent (reparameterized).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Gamma, Normal

from harness.judgement import accuracy, changes
from harness.mathematics import estimators, families, gradients, objectives
from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Estimator, Method, score_function
from harness.mathematics.families import Family
from harness.mathematics.scores import CLOSED_FORMS
from harness.measurement import sampling
from harness.statistics import blocks, intervals
from harness.statistics.bias import Bias, bias_against
from harness.statistics.blocks import Blocks
from tests import test_power as power

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """A fault, where it is planted, the setting that it is measured in, and the check that catches it."""

    fault: str
    setting: str
    caught_by: str
    plant: Patch


def surrogate(target: str, function: Callable[..., Tensor]) -> Patch:
    """Put a wrong surrogate in an estimator's place."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        method: Method = replace(estimators.ESTIMATORS[target], surrogate=function)
        patch.setitem(estimators.ESTIMATORS, target, method)

    return plant


def sampled(change: Callable[[Family, Any, Tensor], Tensor]) -> Patch:
    """Change what the sampler returns: (family, θ, z) → z."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        sample = Family.sample

        def wrong(self: Family, theta: Any, samples: int, q: Any = None) -> Tensor:
            return change(self, theta, sample(self, theta, samples, q))

        patch.setattr(Family, "sample", wrong)

    return plant


def gradient(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Patch:
    """Change what a block hands to the moments: leaf → [R, P]."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(
            sampling,
            "block_gradients",
            lambda draw, estimator, last: change(gradients.block_gradients(draw, estimator)),
        )

    return plant


def moments(change: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Patch:
    """Change the moments of one block: [rows, P] → mean and variance [P]."""

    def wrong(gradients: Tensor, rows: int) -> blocks.Sums:
        means, variances = zip(*(change(block) for block in gradients.split(rows)), strict=True)
        mean, variance = torch.stack(means), torch.stack(variances)
        return blocks.Sums(mean, torch.zeros_like(mean), (rows - 1) * variance.sum(1))

    return lambda patch: patch.setattr(blocks, "block_sums", wrong)


def attribute(owner: Any, name: str, value: Any) -> Patch:
    """Change one function."""
    return lambda patch: patch.setattr(owner, name, value)


# --- estimators -------------------------------------------------------------------------------------------------------


def leave_one_out_by_n(draw: Draw) -> Tensor:
    others = (draw.cost.sum(0, keepdim=True) - draw.cost) / draw.samples
    return draw.average((draw.cost - others) * draw.log_prob)


def leave_none_out(draw: Draw) -> Tensor:
    return draw.average((draw.cost - draw.cost.mean(0, keepdim=True)) * draw.log_prob)


def from_large(least: int, wrong: Callable[..., Tensor], right: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A fault that begins at so many samples."""
    return lambda draw, **options: (wrong if draw.samples >= least else right)(draw, **options)


def leave_one_out_unscaled(draw: Draw) -> Tensor:
    return draw.score_surrogate(draw.cost.mean(0))


def first_hundred(draw: Draw) -> Tensor:
    return draw.pathwise_cost[:100].mean(0)


def leave_one_out_over_rows(draw: Draw) -> Tensor:
    others = (draw.cost.sum(1, keepdim=True) - draw.cost) / (draw.replicates - 1)
    return draw.average((draw.cost - others) * draw.log_prob)


def baseline_added(draw: Draw) -> Tensor:
    return draw.average((draw.cost + score_function.required(draw).mean) * draw.log_prob)


def optimal_averaged(draw: Draw) -> Tensor:
    optimal = score_function.required(draw).optimal
    scaled = {n: row.detach() + optimal[n].mean() * (row - row.detach()) for n, row in draw.theta.items()}
    return draw.average(draw.cost * draw.log_prob - draw.log_prob_at(scaled))


def optimal_without_its_gradient(draw: Draw) -> Tensor:
    """θ′ = b ⊙ θ: the score is then taken at other values of θ."""
    optimal = score_function.required(draw).optimal
    scaled = {n: optimal[n] * row for n, row in draw.theta.items()}
    return draw.average(draw.cost * draw.log_prob - draw.family.log_prob(scaled, draw.z))


def with_current_cost(costs: Tensor, decay: float) -> Tensor:
    average = [costs[0]]
    for cost in costs[1:]:
        average.append(decay * average[-1] + (1 - decay) * cost)
    return torch.stack(average)


def sum_over_samples(draw: Draw) -> Tensor:
    return draw.samples * draw.average(draw.cost * draw.log_prob)


def cost_with_a_graph(draw: Draw) -> Tensor:
    """Score function and path at once."""
    return draw.average(draw.pathwise_cost * draw.log_prob)


def own_coordinate_only(self: objectives.Separable, z: Tensor) -> Tensor:
    """k of the first coordinate for all of them."""
    return self.term(z, self.k[:1].to(z)).sum(-1)


# --- sampler ----------------------------------------------------------------------------------------------------------


def standardized(theta: Any, z: Tensor) -> tuple[Tensor, Tensor]:
    """A Normal's scale and noise."""
    scale = theta["log_scale"].exp() if "log_scale" in theta else theta["scale"]
    return scale, (z - theta["loc"]) / scale


def shared_noise(family: Family, theta: Any, z: Tensor) -> Tensor:
    scale, noise = standardized(theta, z)
    return theta["loc"] + scale * noise[..., :1].detach()


def truncated(family: Family, theta: Any, z: Tensor) -> Tensor:
    """What lies beyond 2.5 is moved inside."""
    scale, noise = standardized(theta, z)
    noise = noise.detach()
    return theta["loc"] + scale * torch.where(noise.abs() > 2.5, noise / 2, noise)


def detached_scale(family: Family, theta: Any, z: Tensor) -> Tensor:
    scale, noise = standardized(theta, z)
    return theta["loc"] + (scale * noise).detach()


def square_root_of_scale(family: Family, theta: Any, z: Tensor) -> Tensor:
    scale, noise = standardized(theta, z)
    return theta["loc"] + scale.sqrt() * noise.detach()


def second_half(change: Callable[[Tensor], Tensor]) -> Callable[[Family, Any, Tensor], Tensor]:
    """The second half of the rows of each block of 16 is made of the first."""

    def sample(family: Family, theta: Any, z: Tensor) -> Tensor:
        if z.shape[1] % 16:
            return z  # a warm-up
        scale, noise = standardized(theta, z)
        blocks = noise.detach().unflatten(1, (-1, 16)).clone()
        blocks[:, :, 8:] = change(blocks[:, :, :8])
        return theta["loc"] + scale * blocks.flatten(1, 2)

    return sample


def last_repeats_first(family: Family, theta: Any, z: Tensor) -> Tensor:
    return torch.cat([z[:-1], z[:1]]) if len(z) >= 50 else z


def last_leans_on_first(family: Family, theta: Any, z: Tensor) -> Tensor:
    """Normal draws of the right law, the last correlated with the first by a half."""
    if len(z) < 50:
        return z
    scale, noise = standardized(theta, z)
    last = 0.5 * noise[:1] + 0.75**0.5 * noise[-1:]
    return torch.cat([z[:-1], theta["loc"] + scale * last])


def one_seed(patch: pytest.MonkeyPatch) -> None:
    """Every chunk of blocks under the seed of the first."""
    draw = sampling.Situation.draw

    def wrong(self: sampling.Situation, purpose: Any, chunk: int, rows: int, *, differentiable: bool) -> Draw:
        return draw(self, purpose, 0, rows, differentiable=differentiable)

    patch.setattr(sampling.Situation, "draw", wrong)


# --- score ------------------------------------------------------------------------------------------------------------


def log_prob_plus(extra: Callable[[Any, Tensor], Tensor]) -> Patch:
    """Add a term to the log density per coordinate, from which autograd then takes the scores."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        build = Family.build

        def wrong(self: Family, theta: Any, **options: Any) -> Any:
            q = build(self, theta, **options)
            log_prob = q.log_prob
            q.log_prob = lambda z: log_prob(z) + extra(theta, z)
            return q

        patch.setattr(Family, "build", wrong)
        for target in list(CLOSED_FORMS):
            patch.delitem(CLOSED_FORMS, target)

    return plant


def closed_form_plus(target: type[Distribution], name: str, extra: Callable[[Any], Tensor]) -> Patch:
    """Add a term to one closed-form score."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        closed = CLOSED_FORMS[target]

        def wrong(parameters: Any, z: Tensor) -> dict[str, Tensor]:
            found = closed(parameters, z)
            return {**found, name: found[name] + extra(parameters)}

        patch.setitem(CLOSED_FORMS, target, wrong)

    return plant


def gradient_of_scale(leaf: Tensor) -> Tensor:
    """exp without its chain-rule factor."""
    return leaf.detach().exp() + (leaf - leaf.detach())


# --- moments and runner -----------------------------------------------------------------------------------------------


def population_variance(found: Tensor) -> tuple[Tensor, Tensor]:
    return found.double().mean(0), found.double().var(0, correction=0)


def naive_float32(found: Tensor) -> tuple[Tensor, Tensor]:
    mean = found.mean(0)
    n = len(found)
    return mean.double(), ((found.square().mean(0) - mean.square()) * n / (n - 1)).double()


def standard_deviation(found: Tensor) -> tuple[Tensor, Tensor]:
    return found.double().mean(0), found.double().std(0)


def second_moment(found: Tensor) -> tuple[Tensor, Tensor]:
    return found.double().mean(0), found.double().square().mean(0)


def two_samples_rescaled(draw: Draw, estimator: Estimator, *, last: bool) -> dict[str, Tensor]:
    """Leave-one-out measured at N = 2 and rescaled as 1/N, instead of measured at N."""
    if "leave_one_out" not in estimator.target:
        return gradients.block_gradients(draw, estimator)
    pair = replace(draw, samples=2, given=draw.z[:2])
    found = gradients.block_gradients(pair, estimator)
    return {name: g.mean(0) + (g - g.mean(0)) * (2 / draw.samples) ** 0.5 for name, g in found.items()}


MUTANTS = [
    Mutant("leave-one-out divides by N", "bernoulli", "variance",
           surrogate("score_function_leave_one_out", leave_one_out_by_n)),
    Mutant("leave-one-out leaves none out", "normal", "bias",
           surrogate("score_function_leave_one_out", leave_none_out)),
    Mutant("leave-one-out over replicates instead of samples", "bernoulli", "variance",
           surrogate("score_function_leave_one_out", leave_one_out_over_rows)),
    Mutant("moving average includes the current cost", "normal", "variance",
           attribute(score_function, "previous_average", with_current_cost)),
    Mutant("moving average is the last cost alone", "bernoulli", "variance",
           attribute(score_function, "previous_average", lambda costs, decay: torch.cat([costs[:1], costs[:-1]]))),
    Mutant("moving average starts cold in every block", "many blocks", "variance",
           attribute(Draw, "earlier_costs", lambda self, count: torch.zeros(1))),
    Mutant("baseline added instead of subtracted", "normal", "variance",
           surrogate("score_function_baseline", baseline_added)),
    Mutant("optimal baseline averaged over coordinates", "bernoulli", "variance",
           surrogate("score_function_optimal_baseline", optimal_averaged)),
    Mutant("optimal baseline scales θ instead of its gradient", "normal", "bias",
           surrogate("score_function_optimal_baseline", optimal_without_its_gradient)),
    Mutant("sum over samples instead of mean", "normal", "bias", surrogate("score_function", sum_over_samples)),
    Mutant("score function differentiates the cost as well", "normal", "bias",
           surrogate("score_function", cost_with_a_graph)),
    Mutant("score without the scale's −1/σ", "normal", "bias",
           log_prob_plus(lambda theta, z: theta["log_scale"].expand(z.shape))),
    Mutant("Bernoulli score without its −p", "bernoulli", "bias",
           log_prob_plus(lambda theta, z: torch.log(1 / (1 - theta["probs"])).expand(z.shape))),
    Mutant("closed-form score without the scale's −1/σ", "normal", "bias",
           closed_form_plus(Normal, "scale", lambda p: 1 / p["scale"])),
    Mutant("closed-form score of a gamma without its digamma", "gamma", "bias",
           closed_form_plus(Gamma, "concentration", lambda p: torch.digamma(p["concentration"]))),
    Mutant("gradient of log_scale without the chain rule", "normal", "bias",
           lambda patch: patch.setitem(families.BIJECTORS, "log", gradient_of_scale)),
    Mutant("reparameterized with detached scale", "normal", "bias", sampled(detached_scale)),
    Mutant("√scale in place of scale in the sampler", "normal", "bias", sampled(square_root_of_scale)),
    Mutant("truncated sampler", "normal", "variance", sampled(truncated)),
    Mutant("one noise shared by all coordinates", "many blocks", "dependence", sampled(shared_noise)),
    Mutant("half of a block's replicates repeat the others", "many blocks", "dependence",
           sampled(second_half(lambda first: first))),
    Mutant("antithetic replicates taken for independent ones", "many blocks", "dependence",
           sampled(second_half(torch.neg))),
    Mutant("every chunk of blocks under the same seed", "normal", "dependence", one_seed),
    Mutant("k of the first coordinate used for all", "normal", "bias",
           attribute(objectives.Separable, "__call__", own_coordinate_only)),
    Mutant("path of a gamma's concentration cut", "gamma", "bias",
           sampled(lambda family, theta, z: z.detach() * (theta["rate"].detach() / theta["rate"]))),
    Mutant("gradients of neighbouring coordinates averaged", "normal", "variance",
           gradient(lambda found: {n: (g + g.roll(1, -1)) / 2 for n, g in found.items()})),
    Mutant("gradients clipped", "gamma", "variance",
           gradient(lambda found: {n: g.clamp(-3, 3) for n, g in found.items()})),
    Mutant("opposite biases in two coordinates", "normal", "bias",
           gradient(lambda found: {n: g + torch.tensor([0.4, -0.4, 0.0]) for n, g in found.items()})),
    Mutant("population variance (ddof 0)", "many blocks", "variance", moments(population_variance)),
    Mutant("float32 accumulation at a large mean", "large mean", "variance", moments(naive_float32)),
    Mutant("standard deviation for variance", "normal", "variance", moments(standard_deviation)),
    Mutant("second moment for variance", "large mean", "variance", moments(second_moment)),
    Mutant("variance at N rescaled instead of measured", "bernoulli", "variance",
           attribute(sampling, "block_gradients", two_samples_rescaled)),
]  # fmt: skip

#: Faults that begin at a large N; the regression gate's sweep, at N = 10, cannot see them.
LARGE = [
    Mutant("leave-one-out without its N/(N−1) from N = 32 on", "large N", "bias",
           surrogate("score_function_leave_one_out", from_large(
               32, leave_one_out_unscaled, score_function.score_function_leave_one_out))),
    Mutant("no more than 100 samples are averaged", "large N", "variance",
           surrogate("reparameterized", first_hundred)),
    Mutant("the last of 50 samples or more repeats the first", "large N", "draws", sampled(last_repeats_first)),
    Mutant("the last of 50 samples or more leans on the first", "large N", "draws", sampled(last_leans_on_first)),
]  # fmt: skip


# --- statistics -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrong:
    """A fault of a test or an interval, and the test of tests/test_power.py that must show it."""

    fault: str
    shown_by: str
    plant: Patch


RIGHT_P_VALUE, RIGHT_TWO_SIDED = accuracy.p_value, changes.two_sided


def scaled_error(factor: float) -> Callable[..., Any]:
    """``bias_against`` with a standard error off by a factor."""

    def wrong(found: Blocks, *rest: Any) -> Bias:
        return bias_against(replace(found, center_se=factor * found.center_se), *rest)

    return wrong


def scaled_log_interval(factor: float) -> Callable[..., intervals.Interval]:
    right = intervals.log_interval
    return lambda value, parts, curvature, count: right(value, factor * parts, curvature, count)


def scaled_p_value(row: dict[str, Any]) -> float:
    """The spread of log variance √2 too large."""
    middle, half = row["variance"], (row["variance_high"] / row["variance_low"]) ** (2**0.5 / 2)
    return RIGHT_P_VALUE(row | {"variance_low": middle / half, "variance_high": middle * half})


def scaled_pooled(factor: float) -> Callable[..., tuple[float, float]]:
    right = changes.pooled

    def wrong(*given: float) -> tuple[float, float]:
        error, degrees = right(*given)
        return factor * error, degrees

    return wrong


def one_sided(distance: float, error: float, degrees: float) -> float:
    return RIGHT_TWO_SIDED(distance, error, degrees) / 2


STATISTICS = [
    Wrong("the standard error of a bias is √2 too large", "bias of one coordinate",
          attribute(power, "bias_against", scaled_error(2**0.5))),
    Wrong("the standard error of a bias is √2 too small", "gate: bias",
          attribute(power, "bias_against", scaled_error(0.5**0.5))),
    Wrong("the interval of a variance is √2 too wide", "interval of a variance",
          attribute(intervals, "log_interval", scaled_log_interval(2**0.5))),
    Wrong("the interval of a paired ratio is √2 too narrow", "interval of a paired ratio",
          attribute(intervals, "log_interval", scaled_log_interval(0.5**0.5))),
    Wrong("a variance is held against its exact value with √2 of its error", "variance against its exact value",
          attribute(power.accuracy, "p_value", scaled_p_value)),
    Wrong("the gate's error of a ratio is √2 too large", "gate: variance against the baseline",
          attribute(changes, "pooled", scaled_pooled(2**0.5))),
    Wrong("the gate forgets one side's error", "gate: gradient against the baseline",
          attribute(changes, "pooled", scaled_pooled(0.5**0.5))),
    Wrong("the gate's p-values are one-sided", "gate: variance against the baseline",
          attribute(changes, "two_sided", one_sided)),
]  # fmt: skip
