"""Measures Monte Carlo estimators of ``∇_θ E_{q_θ(z)}[f(z)]``: bias, variance with its interval, wall-clock."""

__version__ = "0.1.0"
