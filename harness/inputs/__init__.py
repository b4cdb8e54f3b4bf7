"""Data sets and fitted posteriors: what problems are made from. Knows nothing of estimators."""
