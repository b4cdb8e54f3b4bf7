"""Named bijectors: a parameter given as ``log_scale`` is differentiated with respect to ``log scale``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: prefix of the leaf's name → map from the leaf to the class's own parameter
BIJECTORS: dict[str, Callable[[Tensor], Tensor]] = {
    "log": torch.exp,  # log_scale → scale
    "logit": torch.sigmoid,  # logit_probs → probs
    "inverse_softplus": torch.nn.functional.softplus,  # inverse_softplus_scale → scale
}
