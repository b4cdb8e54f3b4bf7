"""θ copied to rows, and q on them, built once per shape and used for every block.

Building a transformed distribution costs more than drawing from it, and θ does not change while its gradient's variance
is measured. A training step has no such cache; the timing pass does without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution

from harness.mathematics.families import Family
from harness.mathematics.scores import CLOSED_FORMS


@dataclass(frozen=True)
class Rows:
    """Leaf tensors of θ and the distribution on them, by shape of the copies: [R] or, sample by sample, [N, R]."""

    family: Family
    dtype: torch.dtype
    device: str = "cpu"
    _built: dict[tuple[int, ...], tuple[dict[str, Tensor], Distribution]] = field(default_factory=dict, repr=False)
    _constants: tuple[dict[str, Tensor], dict[str, Tensor]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_constants", self.constants())

    def at(self, *shape: int) -> tuple[dict[str, Tensor], Distribution]:
        """θ with ``shape`` copies and q there."""
        if shape not in self._built:
            theta = self.family.rows(shape, self.dtype, self.device)
            self._built[shape] = theta, self.family.build(theta)
        return self._built[shape]

    def constants(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The class's own parameters without rows, and by leaf their derivative where a bijector stands between."""
        parameters = {name: value.to(self.device, self.dtype) for name, value in self.family.constants.items()}
        slopes = {}
        for leaf in self.family.leaves:
            value = leaf.value.clone().requires_grad_()
            parameter = leaf.transform(value)
            parameters[leaf.parameter] = parameter.detach().to(self.device, self.dtype)
            if leaf.bijector is not None:
                slopes[leaf.name] = torch.autograd.grad(parameter.sum(), value)[0].to(self.device, self.dtype)
        return parameters, slopes

    def scores(self, z: Tensor) -> dict[str, Tensor]:
        """``∂ log q(z; θ)/∂θ`` of each draw, by leaf, in the shape of z: in closed form where there is one."""
        parameters, slopes = self._constants
        closed = CLOSED_FORMS[self.family.target](parameters, z) if self.family.target in CLOSED_FORMS else {}
        if any(leaf.parameter not in closed for leaf in self.family.leaves):
            theta, q = self.at(*z.shape[:2])
            log_prob = q.log_prob(z).sum()
            return dict(zip(theta, torch.autograd.grad(log_prob, list(theta.values()), retain_graph=True), strict=True))
        found = {leaf.name: closed[leaf.parameter] for leaf in self.family.leaves}
        return {name: score * slopes[name] if name in slopes else score for name, score in found.items()}

    @cached_property
    def disposable(self) -> bool:
        """Whether a backward pass may free the graph down to θ: not if part of it was made when q was built.

        A bijector's exp, or a Weibull's 1/k, would be missing in the next draw.
        """
        theta, q = Rows(self.family, self.dtype, self.device).at(1)
        with torch.random.fork_rng(devices=[self.device] if self.device.startswith("cuda") else []):
            for _ in range(2):
                try:
                    z = q.rsample() if q.has_rsample else torch.zeros(())
                    if z.requires_grad:
                        torch.autograd.grad(z.sum(), list(theta.values()), allow_unused=True)
                except RuntimeError:
                    return False
        return True
