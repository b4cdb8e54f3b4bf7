"""Blocks of gradients, wall-clock and the runner. Knows nothing of Hydra or of reports."""
