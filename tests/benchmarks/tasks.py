"""The problems that subjects compete on: q, f, D and N as plain values, known to all subjects alike."""

from __future__ import annotations

from dataclasses import dataclass

SCORE, PATH = "score_function", "reparameterized"
K = 0.45  # of the quadratic
NORMAL = (("loc", 1.0), ("scale", 1.0))


@dataclass(frozen=True)
class Task:
    """``∇_θ E_{q_θ(z)}[f(z)]`` with D coordinates, N samples per estimate; each parameter has one value for all D."""

    name: str
    title: str
    family: str
    parameters: tuple[tuple[str, float], ...]
    objective: str = "quadratic"
    dimension: int = 20
    samples: int = 1
    estimators: tuple[str, ...] = (PATH, SCORE)

    @property
    def coordinates(self) -> int:
        """N · D: random numbers per estimate."""
        return self.samples * self.dimension


def normal(name: str, dimension: int = 20, samples: int = 1) -> Task:
    """The anchor at another D or N."""
    title = f"Normal(1, 1), D = {dimension}, quadratic, N = {samples}"
    return Task(name, title, "normal", NORMAL, dimension=dimension, samples=samples)


ANCHOR = normal("anchor")
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        ANCHOR,
        normal("normal_d1", dimension=1),
        normal("normal_d100", dimension=100),
        normal("normal_d1000", dimension=1000),
        normal("normal_n10", samples=10),
        normal("normal_n1000", samples=1000),
        Task("gamma", "Gamma(2, 1), D = 20, quadratic, N = 1", "gamma", (("concentration", 2.0), ("rate", 1.0))),
        Task(
            "bernoulli", "Bernoulli(logits 0.3), D = 20, quadratic, N = 1", "bernoulli", (("logits", 0.3),),
            estimators=(SCORE,),
        ),
        Task(
            "logistic_regression", "logistic regression, 569 × 31, N = 1", "normal",
            (("loc", 0.0), ("log_scale", 0.0)), objective="logistic_regression", dimension=31,
        ),
    )
}  # fmt: skip
