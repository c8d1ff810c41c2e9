# make run       the main job: six systems on the default video and network
# make test      every test             make lint      formatting, style, types
# make bench     benchmarks             .ci/run        what a merge must pass
#
# Each makes .venv first if it is not there. PYTHON=python3.12 chooses the interpreter (3.10 or newer).

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
RUN := OMP_NUM_THREADS=1 $(VENV)/bin/python
READY := $(VENV)/.ready

.DELETE_ON_ERROR:
.PHONY: run test lint format bench clean
.DEFAULT_GOAL := run

run: $(READY)
	$(RUN) -m sim -m experiment=quickstart

test: $(READY)
	$(RUN) -m pytest --numprocesses=$(JOBS) --dist=loadfile --quiet

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(READY)
	$(RUN) -m tests.benchmarks

clean:
	rm -rf $(VENV) outputs multirun .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an installation that was cut short is repeated.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and \
	  f"PYTHON=$(PYTHON): expected Python 3.10 or newer, found {v[0]}.{v[1]}; try make PYTHON=python3.12")'
	$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
