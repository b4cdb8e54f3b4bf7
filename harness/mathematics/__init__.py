"""Distributions, objectives, estimators and their exact truth: torch and SciPy, pure functions; no files, no clocks."""
