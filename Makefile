# Everything runs in .venv, which is made on first use from any Python ≥ 3.11 (PYTHON=… names another one).
# A CPU-only torch: make sweep TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
TORCH_INDEX ?=
# Test processes at once; each computes on one thread.
WORKERS ?= 2
# Sweeps run their jobs in WORKERS processes; LAUNCHER= (empty) runs them one after the other in this one.
LAUNCHER ?= hydra/launcher=joblib hydra.launcher.n_jobs=$(WORKERS)
# Further overrides of the sweeps: make sweep ARGS='precision=0.1 timing_seconds=0.2'
ARGS ?=
# Rounds of the benchmarks; ARGS go to their pytest: make bench BENCH_ROUNDS=3 ARGS='-k anchor'
BENCH_ROUNDS ?= 7

SWEEPS := variance objectives logistic_regression headline
# Not a page that git carries: those are `make reproduce`'s alone.
REPORT := reports/sweep.md
# The run folders that `make report` reads.
RUNS ?= $(SWEEPS:%=results/%)

VENV := .venv
LOWEST := .lowest
INSTALLED := $(VENV)/.installed
BENCH := $(VENV)/.bench
BENCHMARKS := results/benchmarks
RUN := $(VENV)/bin/python -m
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(RUN) pytest -n $(WORKERS)
LINTED := harness tests

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv sweep smoke report reproduce claims regression calibrate-gate bench test test-slow test-lowest lint format clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=python3.12  TORCH_INDEX=https://…/cpu (a torch without CUDA)  WORKERS=2  ARGS='precision=0.1'"

venv: $(INSTALLED)  ## create the environment; every other target does so if need be

# Torch first and alone: its index may lack the rest, and torch's own requirements come from the usual one.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11 or newer, got " + sys.version.split()[0] + "; name one with PYTHON=…")'
	@echo 'installing into $(VENV); with a torch to download this takes minutes'
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --upgrade 'pip>=25.1'
	$(if $(TORCH_INDEX),$(RUN) pip install --quiet --no-deps --index-url '$(TORCH_INDEX)' --constraint constraints.txt torch)
	$(RUN) pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

# A sweep with failed cells (exit 3) leaves the others to be measured and reported; make fails all the same.
sweep: $(INSTALLED)  ## measure the main sweeps and render reports/sweep.md
	@status=0; \
	for name in $(SWEEPS); do \
	  echo "== $$name" >&2; \
	  code=0; $(RUN) harness +sweep=$$name report=null $(LAUNCHER) $(ARGS) || code=$$?; \
	  if [ $$code -ne 0 ] && [ $$code -ne 3 ]; then exit $$code; fi; \
	  if [ $$code -ne 0 ]; then status=$$code; fi; \
	done; \
	$(RUN) harness.report $(SWEEPS:%=results/%) --output $(REPORT) || exit $$?; \
	exit $$status

smoke: $(INSTALLED)  ## every distribution, objective and estimator once, in a quarter of a minute
	$(RUN) harness +sweep=smoke $(LAUNCHER) $(ARGS)

report: $(INSTALLED)  ## render reports/sweep.md again from stored records (RUNS=… names the run folders)
	$(RUN) harness.report $(RUNS) --output $(REPORT)

# Stored cells are not measured again: make clean reproduce starts from nothing.
reproduce: $(INSTALLED)  ## every sweep, all pages of reports/ and the README's headline (some 13 minutes)
	$(RUN) harness.reproduce --workers $(WORKERS)

claims: $(INSTALLED)  ## what was claimed, and what the stored records say to it
	$(RUN) harness.claims

# Exit 1: a regression, 3: cells are missing or unresolved, 4: the baseline is wrong. ARGS='--keep results/check'
regression: $(INSTALLED)  ## has a change altered bias or variance? against results/baseline and exact values
	$(RUN) harness.regression check --jobs $(WORKERS) $(ARGS)

calibrate-gate: $(INSTALLED)  ## false alarms and power of the regression gate (some 20 minutes)
	OMP_NUM_THREADS=1 $(RUN) tests.calibrate_gate --jobs $(WORKERS) $(ARGS)

# The peers' packages come on top, for this target alone.
$(BENCH): $(INSTALLED)
	$(RUN) pip install --quiet --constraint constraints.txt --group bench
	@touch $@

# Where the harness fails a check of its own (exit 1), the rest is measured and rendered; make fails all the same.
bench: $(BENCH)  ## time the harness beside JAX, vmap, Pyro and a Python loop; reports/speed.md (ten minutes)
	@status=0; \
	for threads in 1 all; do \
	  echo "== threads: $$threads" >&2; \
	  code=0; BENCH_ROUNDS=$(BENCH_ROUNDS) $(RUN) tests.benchmarks --threads $$threads --output $(BENCHMARKS) $(ARGS) || code=$$?; \
	  if [ $$code -gt 1 ]; then exit $$code; fi; \
	  if [ $$code -ne 0 ]; then status=$$code; fi; \
	done; \
	$(RUN) tests.benchmarks.report $(BENCHMARKS)/threads-*.json --output reports/speed.md || exit $$?; \
	exit $$status

test: $(INSTALLED)  ## the test suite
	$(PYTEST)

# pytest's exit code 5: no test is marked slow.
test-slow: $(INSTALLED)  ## the longer statistical and end-to-end checks
	$(PYTEST) -m slow || [ $$? -eq 5 ]

# An environment of its own. What the oldest packages warn of newer ones beside them is not ours to mend.
test-lowest:  ## the test suite with the oldest direct dependencies that pyproject.toml allows
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(LOWEST)/bin/python -m tests.lowest > $(LOWEST)/constraints.txt
	$(if $(TORCH_INDEX),$(LOWEST)/bin/python -m pip install --quiet --no-deps --index-url '$(TORCH_INDEX)' --constraint $(LOWEST)/constraints.txt torch)
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/constraints.txt --editable . --group test
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n $(WORKERS) -W default::DeprecationWarning

lint: $(INSTALLED)  ## ruff and mypy
	$(RUN) ruff check $(LINTED)
	$(RUN) ruff format --check $(LINTED)
	$(RUN) mypy

format: $(INSTALLED)  ## let ruff mend what it can
	$(RUN) ruff check --fix $(LINTED)
	$(RUN) ruff format $(LINTED)

# What the harness did not write stays, and is named.
clean:  ## remove measured results, caches and reports that git does not carry; keep the baseline and the environment
	@$(PYTHON) -B -m harness.clean
	@rm -rf .pytest_cache .mypy_cache .ruff_cache
	@rm -f dist/gradient_variance_harness-*.whl dist/gradient_variance_harness-*.tar.gz
	@for folder in dist .benchmarks; do if [ -d $$folder ]; then rmdir $$folder 2>/dev/null || true; fi; done
	@find harness tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## and remove the environment
	@if [ -f $(INSTALLED) ]; then rm -rf $(VENV); fi
