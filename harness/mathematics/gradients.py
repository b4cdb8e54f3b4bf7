"""From a surrogate to R independent gradients: one backward pass for a whole block."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.mathematics.draws import Draw, slopes_of
from harness.mathematics.estimators import Estimator
from harness.mathematics.objectives import Upstream, known_gradient_of
from harness.mathematics.shapes import shape_of
from harness.vocabulary.errors import ConfigurationError


def block_gradients(draw: Draw, estimator: Estimator, *, last: bool = False) -> dict[str, Tensor]:
    """Gradient estimates of every row, by leaf, and with respect to weights behind them: name → [R, P].

    The graph is kept, since the estimators of a job share it, unless this is the ``last`` of them and the next draw
    needs nothing of it: its memory is then used again while it is still in the cache. A leaf that the surrogate does
    not reach (a step function along the path) has gradient zero. What the loss's gradient has that needs no draw, a
    KL in closed form, is added to every row.

    Raises: ConfigurationError for a surrogate that is not one number for each row.
    """
    surrogate = estimator.surrogate(draw)
    if not isinstance(surrogate, Tensor) or surrogate.shape != (draw.replicates,):
        raise ConfigurationError(
            f"estimator {estimator.name}: expected a surrogate of shape {[draw.replicates]}, one number for each row "
            f"of θ, got {shape_of(surrogate)}; draw.average takes the mean over samples"
        )
    leaves = list(draw.theta.values())
    found: tuple[Tensor | None, ...] = slopes_of(surrogate, leaves) or (None,) * len(leaves)
    if surrogate.requires_grad and found[0] is None:
        kept = not last or draw.rows is None or not draw.rows.disposable
        found = torch.autograd.grad(surrogate.sum(), leaves, retain_graph=kept, allow_unused=True)
    shaped = {
        name: (torch.zeros_like(leaf) if gradient is None else gradient).detach()
        for (name, leaf), gradient in zip(draw.theta.items(), found, strict=True)
    }
    for name, known in known_gradient_of(draw.objective).items():
        shaped[name] = shaped[name] + known.to(shaped[name])
    gradients = {name: gradient.flatten(1) for name, gradient in shaped.items()}
    model = draw.objective
    if isinstance(model, Upstream) and model.upstream:
        gradients[model.upstream] = model.pull_back(shaped)
    return gradients
