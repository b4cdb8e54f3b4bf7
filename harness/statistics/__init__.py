"""Block statistics, intervals and tests: arrays in, numbers out. Knows nothing of estimators or models."""
