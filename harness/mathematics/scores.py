"""Closed-form scores ``∂ log q(z; θ)/∂θ`` of the common classes of ``torch.distributions``.

Beside the generic path, autograd through ``log_prob``, which any class or parameter takes that is not listed here: the
same numbers in a third of the passes over memory. Parameters are those of the class, without rows ([D] or [D, K]), and
broadcast against z ([N, R, *B, D] or [N, R, *B, D, K]).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch import distributions as D
from torch.distributions import Distribution

Parameters = Mapping[str, Tensor]
Scores = dict[str, Tensor]


def normal(p: Parameters, z: Tensor) -> Scores:
    """``y/σ, (y² − 1)/σ`` with y = (z − μ)/σ"""
    precision = 1 / p["scale"]
    y = (z - p["loc"]) * precision
    loc = y * precision
    return {"loc": loc, "scale": torch.addcmul(-precision, y, loc)}


def lognormal(p: Parameters, z: Tensor) -> Scores:
    """A normal's, of log z."""
    return normal(p, z.log())


def laplace(p: Parameters, z: Tensor) -> Scores:
    """``sign(y)/b, (|y| − 1)/b`` with y = (z − μ)/b"""
    precision = 1 / p["scale"]
    y = (z - p["loc"]) * precision
    loc = y.sign() * precision
    return {"loc": loc, "scale": torch.addcmul(-precision, y, loc)}


def student_t(p: Parameters, z: Tensor) -> Scores:
    """``w/s, (w y − 1)/s`` with y = (z − μ)/s, w = (ν+1) y/(ν + y²); ν itself is left to autograd"""
    df, precision = p["df"], 1 / p["scale"]
    y = (z - p["loc"]) * precision
    loc = y * ((df + 1) * precision) / torch.addcmul(df, y, y)
    return {"loc": loc, "scale": torch.addcmul(-precision, y, loc)}


def gumbel(p: Parameters, z: Tensor) -> Scores:
    """``a/β, (y a − 1)/β`` with y = (z − μ)/β, a = 1 − e^{−y}"""
    precision = 1 / p["scale"]
    y = (z - p["loc"]) * precision
    loc = torch.expm1(-y) * -precision
    return {"loc": loc, "scale": torch.addcmul(-precision, y, loc)}


def exponential(p: Parameters, z: Tensor) -> Scores:
    """``1/λ − z``"""
    return {"rate": 1 / p["rate"] - z}


def gamma(p: Parameters, z: Tensor) -> Scores:
    """``log β − ψ(α) + log z, α/β − z``"""
    a, b = p["concentration"], p["rate"]
    return {"concentration": z.log() + (b.log() - torch.digamma(a)), "rate": a / b - z}


def beta(p: Parameters, z: Tensor) -> Scores:
    """``log z + ψ(α+β) − ψ(α), log(1−z) + ψ(α+β) − ψ(β)``"""
    a, b = p["concentration1"], p["concentration0"]
    both = torch.digamma(a + b)
    return {
        "concentration1": z.log() + (both - torch.digamma(a)),
        "concentration0": torch.log1p(-z) + (both - torch.digamma(b)),
    }


def weibull(p: Parameters, z: Tensor) -> Scores:
    """``(k/λ)(e^{ku} − 1), 1/k − u (e^{ku} − 1)`` with u = log(z/λ)"""
    k, scale = p["concentration"], p["scale"]
    u = z.log() - scale.log()
    excess = torch.expm1(k * u)
    return {"scale": k / scale * excess, "concentration": 1 / k - u * excess}


def uniform(p: Parameters, z: Tensor) -> Scores:
    """``1/(h − l), −1/(h − l)``: the same everywhere on the support"""
    density = 1 / (p["high"] - p["low"])
    return {"low": density.expand_as(z), "high": -density.expand_as(z)}


def bernoulli(p: Parameters, z: Tensor) -> Scores:
    """``z − σ(l)``; of the probability: ``(z − π)/(π (1−π))``"""
    if "logits" in p:
        return {"logits": z - torch.sigmoid(p["logits"])}
    return {"probs": (z - p["probs"]) / (p["probs"] * (1 - p["probs"]))}


def geometric(p: Parameters, z: Tensor) -> Scores:
    """``1 − π − z π``; of the probability: ``1/π − z/(1−π)``"""
    if "logits" in p:
        probs = torch.sigmoid(p["logits"])
        return {"logits": (1 - probs) - z * probs}
    return {"probs": 1 / p["probs"] - z / (1 - p["probs"])}


def poisson(p: Parameters, z: Tensor) -> Scores:
    """``z/λ − 1``"""
    return {"rate": z / p["rate"] - 1}


def dirichlet(p: Parameters, z: Tensor) -> Scores:
    """``log z_k + ψ(Σα) − ψ(α_k)``"""
    a = p["concentration"]
    return {"concentration": z.log() + (torch.digamma(a.sum(-1, keepdim=True)) - torch.digamma(a))}


def one_hot_categorical(p: Parameters, z: Tensor) -> Scores:
    """``z_k − softmax(l)_k``; of weights p that need not sum to 1: ``z_k/p_k − 1/Σp``"""
    if "logits" in p:
        return {"logits": z - p["logits"].softmax(-1)}
    return {"probs": z / p["probs"] - 1 / p["probs"].sum(-1, keepdim=True)}


#: class → its scores by the class's own parameter. A subclass is another class: it may have another density.
CLOSED_FORMS: dict[type[Distribution], Callable[[Parameters, Tensor], Scores]] = {
    D.Normal: normal,
    D.LogNormal: lognormal,
    D.Laplace: laplace,
    D.StudentT: student_t,
    D.Gumbel: gumbel,
    D.Exponential: exponential,
    D.Gamma: gamma,
    D.Beta: beta,
    D.Weibull: weibull,
    D.Uniform: uniform,
    D.Bernoulli: bernoulli,
    D.Geometric: geometric,
    D.Poisson: poisson,
    D.Dirichlet: dirichlet,
    D.OneHotCategorical: one_hot_categorical,
}
