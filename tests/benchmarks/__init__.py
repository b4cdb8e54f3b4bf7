"""How fast the harness is beside its peers and beside the random numbers alone: ``make bench`` → reports/speed.md.

Nothing here is collected by ``make test``. All subjects of one problem and estimator are timed round by round in turn;
every time is one of a gradient ESTIMATE, an average of N draws for all parameters.
"""
