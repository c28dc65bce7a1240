# Needs python3 (3.11 or newer) and make, nothing else: everything goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# A process a core, not more than four: each computes with several threads itself.
PARALLEL := -n auto --maxprocesses 4 --dist worksteal

.PHONY: demo test lint types check docs clean

demo: $(VENV)/base.stamp   ## upscale a photograph with both networks; results in demo/
	$(BIN)/superfine demo -o demo

test: $(VENV)/dev.stamp    ## the whole test suite
	$(BIN)/python -m pytest $(PARALLEL)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

docs: $(VENV)/docs.stamp   ## the documentation as a site, in site/
	$(BIN)/zensical build --strict

check: lint types test     ## what must pass before a change is merged

# Stamps, so that a second `make demo` starts at once. They are in the environment: removing it is enough.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/base.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing superfine and what it needs into $(VENV) (no PyTorch) ..."
	$(INSTALL) -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing superfine, PyTorch and the test tools into $(VENV) ..."
	$(INSTALL) -e ".[dev]"
	@touch $@ $(VENV)/base.stamp

$(VENV)/docs.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing superfine and Zensical into $(VENV) ..."
	$(INSTALL) -e ".[docs]"
	@touch $@ $(VENV)/base.stamp

clean:
	rm -rf $(VENV) demo site build dist src/superfine.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
