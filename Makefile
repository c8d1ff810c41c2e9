# make run       the main job: every system of the first paper on the default video and network
# make test      every test
# make test-compilers  the GPU code through Triton and CUDA 11, which need no GPU; takes 1.1 GB (Linux, x86-64)
# make test-board   the measuring kit under Python 3.8 with torch 1.13; PYTHON38=python3.8; takes 1.8 GB
# make kit       the measuring kit with kernels compiled for sm_72 to sm_90, as fluxshard-kit.pyz; four minutes
# make gpu       everything that a GPU is asked, in 8 minutes at most, into GPU_OUT; wants torch 2 or later, numpy and
#                nvcc for PYTHON and installs nothing
# make test-launchers  installs each launcher as the README says, beside .venv, and sweeps with it (Ray: 0.5 GB)
# make lint      formatting, style and types; make format repairs the first two
# make figures   the papers' experiments, as far as they have not been run, and analysis/reproduction.csv; on two cores
#                a quarter of an hour. With DAVIS=FOLDER YOLO11N_SEG=FILE YOLO11N=FILE on the papers' own data set, where it has
#                one that can be had
# make bench     every tests/benchmarks/bench_*.py but those of the kernels and of intervals, one after the other
# make bench-kernels   sparse against dense inference, layer by layer and whole; one CSV
#
# Each makes .venv first if it is not there. PYTHON=python3.12 chooses the interpreter (3.10 or newer).

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
RUN := OMP_NUM_THREADS=1 $(VENV)/bin/python
READY := $(VENV)/.ready
COMPILERS := .compilers
BOARD := .board
PYTHON38 ?= python3.8
GPU_OUT ?= gpu-results
LAUNCHERS := .launchers
BENCHMARKS = $(filter-out bench_kernels bench_intervals,$(sort $(patsubst tests/benchmarks/%.py,%,$(wildcard tests/benchmarks/bench_*.py))))

.DELETE_ON_ERROR:
.PHONY: run test test-compilers test-board test-launchers kit gpu lint format figures bench bench-kernels clean
.DEFAULT_GOAL := run

run: $(READY)
	$(RUN) -m sim -m experiment=quickstart hydra/launcher=joblib

test: $(READY)
	$(RUN) -m pytest --numprocesses=$(JOBS) --dist=loadfile --quiet

test-compilers: $(READY) $(COMPILERS)/.ready
	PYTHONPATH=$(COMPILERS) $(RUN) -m pytest --numprocesses=$(JOBS) --quiet \
	  tests/reference/ops/test_triton_convolve.py tests/theory/kernels/test_triton_compile.py tests/theory/kernels/test_cuda_budget.py \
	  tests/reference/ops/test_precompiled.py

test-board: $(READY) $(BOARD)/.ready
	FLUXSHARD_BOARD=$(CURDIR)/$(BOARD)/bin/python $(RUN) -m pytest --quiet tests/reference/profiler/kit

kit: $(READY) $(COMPILERS)/.ready
	PYTHONPATH=$(COMPILERS) $(RUN) -m kernels.ops.cuda.compile_binaries $(COMPILERS)/binaries
	$(RUN) -m profiler kit out=fluxshard-kit.pyz binaries=$(COMPILERS)/binaries

gpu:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and "PYTHON=$(PYTHON): expected Python 3.10 or\
	 newer to pack the kit, found %d.%d: pack it elsewhere, then $(PYTHON) fluxshard-kit.pyz gpu" % v[:2])'
	$(PYTHON) -m profiler.kit.archive $(GPU_OUT)/fluxshard-kit.pyz
	$(PYTHON) $(GPU_OUT)/fluxshard-kit.pyz gpu out=$(GPU_OUT)

test-launchers: $(READY)
	FLUXSHARD_LAUNCHERS=$(LAUNCHERS) $(RUN) -m pytest --quiet tests/package/test_launchers.py

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

figures: $(READY)
	$(RUN) -m analysis reproduce $(if $(DAVIS),davis=$(DAVIS) yolo11n_seg=$(YOLO11N_SEG) yolo11n=$(YOLO11N))

bench: $(READY)
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(RUN) -m tests.benchmarks.$$name; done

bench-kernels: $(READY)
	$(RUN) -m tests.benchmarks.bench_kernels

clean:
	rm -rf $(VENV) $(COMPILERS) $(BOARD) $(LAUNCHERS) outputs multirun .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an installation that was cut short is repeated.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and \
	  f"PYTHON=$(PYTHON): expected Python 3.10 or newer, found {v[0]}.{v[1]}; try make PYTHON=python3.12")'
	$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(COMPILERS)/.ready: tests/toolchains/compilers.txt $(READY)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target $(COMPILERS) -r tests/toolchains/compilers.txt
	@touch $@

$(BOARD)/.ready: tests/toolchains/board.txt
	$(PYTHON38) -m venv --clear $(BOARD)
	$(BOARD)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/toolchains/board.txt
	@touch $@
