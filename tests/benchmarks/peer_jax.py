"""JAX: ``jit(vmap(grad))`` with mean and variance of a chunk fused into the same program, many chunks in one call.

float32, the default generator; compilation does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from harness.inputs.datasets import load_dataset
from tests.benchmarks.check import Sample, sample
from tests.benchmarks.subjects import Work, chunks
from tests.benchmarks.tasks import PATH, K, Task

#: Coordinates in a chunk; the fastest is taken. A gamma's draw is a loop of rejections, slow and costly to compile.
GRID, GAMMA_GRID = (2**13, 2**15, 2**17, 2**19), (2**10, 2**14)
#: Coordinates of all chunks of one call.
CALL, GAMMA_CALL = 2**19, 2**16
Theta = Mapping[str, Array]


def works(task: Task, estimator: str) -> list[Work]:
    """One call is as many chunks as fill it."""
    gamma = task.family == "gamma"
    size = GAMMA_CALL if gamma else CALL
    return [
        work_of(task, estimator, chunk, max(1, size // (chunk * task.coordinates)))
        for chunk in chunks(task, GAMMA_GRID if gamma else GRID)
    ]


def work_of(task: Task, estimator: str, chunk: int, repeats: int) -> Work:
    """A compiled program: seed → means and variances [repeats, P] of each parameter."""
    theta = {name: jnp.full(task.dimension, value, jnp.float32) for name, value in task.parameters}
    gradient = jax.vmap(jax.grad(loss_of(task, estimator)), in_axes=(None, 0))

    def one(key: Array) -> Any:
        found = gradient(theta, noise(task, theta, key, chunk))
        return {name: (g.mean(0), g.var(0, ddof=1)) for name, g in found.items()}

    @jax.jit
    def program(seed: int) -> Any:
        return lax.map(one, jax.random.split(jax.random.key(seed), repeats))

    def run(calls: int) -> Any:
        return jax.block_until_ready([program(seed) for seed in range(calls)])

    return Work(chunk * repeats, run, lambda kept: read(chunk, kept), chunk)


def noise(task: Task, theta: Theta, key: Array, chunk: int) -> Array:
    """What each estimate of a chunk draws from: normals, zeros and ones, or (gamma) a key of its own."""
    shape = (chunk, task.samples, task.dimension)
    if task.family == "gamma":
        return jax.random.split(key, chunk)
    if task.family == "bernoulli":
        return jax.random.bernoulli(key, jax.nn.sigmoid(theta["logits"]), shape).astype(jnp.float32)
    return jax.random.normal(key, shape)


def loss_of(task: Task, estimator: str) -> Callable[[Theta, Array], Array]:
    """The loss of one estimate."""
    cost, shape = cost_of(task), (task.samples, task.dimension)

    def path(theta: Theta, drawn: Array) -> Array:
        if task.family == "gamma":
            return jax.random.gamma(drawn, theta["concentration"], shape) / theta["rate"]
        return drawn if task.family == "bernoulli" else theta["loc"] + scale_of(theta) * drawn

    def score(theta: Theta, drawn: Array) -> Array:
        z = path(lax.stop_gradient(theta), drawn)
        return (cost(z) * log_prob(task, theta, z).sum(-1)).mean()

    return (lambda theta, drawn: cost(path(theta, drawn)).mean()) if estimator == PATH else score


def scale_of(theta: Theta) -> Array:
    """A normal's scale, whichever leaf it comes from."""
    return theta["scale"] if "scale" in theta else jnp.exp(theta["log_scale"])


def log_prob(task: Task, theta: Theta, z: Array) -> Array:
    """``log q(z_d; θ_d)`` of each coordinate."""
    if task.family == "gamma":
        rate = theta["rate"]
        return jax.scipy.stats.gamma.logpdf(z * rate, theta["concentration"]) + jnp.log(rate)
    if task.family == "bernoulli":
        return z * theta["logits"] - jax.nn.softplus(theta["logits"])
    return jax.scipy.stats.norm.logpdf(z, theta["loc"], scale_of(theta))


def cost_of(task: Task) -> Callable[[Array], Array]:
    """f: [..., D] → [...]."""
    if task.objective == "quadratic":
        return lambda z: jnp.square(z - K).sum(-1)
    data = load_dataset("breast_cancer")
    features = jnp.asarray(data.features.numpy(), jnp.float32)
    signs = jnp.asarray(2 * data.labels.numpy() - 1, jnp.float32)
    return lambda z: jax.nn.log_sigmoid((z @ features.T) * signs).sum(-1)


def read(chunk: int, kept: Any) -> dict[str, Sample]:
    """Statistics of chunks."""
    found = {}
    for name in kept[0]:
        means = np.concatenate([np.asarray(k[name][0], np.float64) for k in kept])
        variances = np.concatenate([np.asarray(k[name][1], np.float64).mean(1) for k in kept])
        found[name] = sample(chunk, means, variances)
    return found
