# make demo: install and run the main job.   make test: install and run everything CI runs.   make notebook: the tour.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
RATES := 0.25,0.5,1,2,3,4,5

.PHONY: demo notebook test test-deep bench peers lint clean

demo: $(VENV)/.installed
	$(BIN)/servesim sweep configs/demo.yaml --vary engine.preset=static,orca,vllm-v1 \
		--vary workload.arrivals.rate=$(RATES) --out results/demo

notebook: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt jupyterlab
	$(BIN)/jupyter lab notebooks/tour.ipynb

test: $(VENV)/.installed-dev lint
	$(BIN)/pytest -n auto

test-deep: $(VENV)/.installed-dev
	$(BIN)/pytest -m deep

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/bench.py

peers:
	test -x benchmarks/.venv/bin/python || $(PYTHON) -m venv benchmarks/.venv
	benchmarks/.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	benchmarks/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps ai-dynamo-runtime==1.6.1
	benchmarks/.venv/bin/python benchmarks/peers.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) benchmarks/.venv results
