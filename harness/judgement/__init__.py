"""Verdicts computed from tables of records: bias, claims about relative variance, agreement with exact values.

Pure functions of DataFrames with the columns of ``harness.vocabulary.records``. Knows nothing of torch or files.
"""
