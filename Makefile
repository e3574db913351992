# make train        install into .venv, without PyTorch, and train the lecture's LeNet
# make notebook     install Jupyter and open the lecture's notebook
# make test         install the development extra, with PyTorch, and run the fast tests
# make test-slow    run the slow tests
# make torture      run the slow tests with all their cases
# make test-native  test the native engine under sanitizers and on emulated processors
# make check        lint, types, architecture, spelling

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Pins also apply to build environments.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A change in one of these installs again, so that changed kernels are compiled.
INPUTS := pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/lenscope/native/*.?pp src/lenscope/native/*/*.?pp)

.PHONY: train notebook test test-slow torture test-native check clean

train: $(VENV)/.installed
	@$(BIN)/lenscope train

notebook: $(VENV)/.installed-notebook
	@$(BIN)/jupyter lab examples/lecture29.ipynb

test: $(VENV)/.installed-dev
	@scripts/test

test-slow: $(VENV)/.installed-dev
	@scripts/test slow

torture: $(VENV)/.installed-dev
	@LENSCOPE_TORTURE=1 scripts/test slow

# The native engine without Python: sanitizers, emulated processors, exported symbols.
test-native:
	@scripts/native

check: $(VENV)/.installed-dev
	@scripts/check

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 15) else f"{sys.executable} is Python {v[0]}.{v[1]}, expected 3.11 to 3.14; run: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }

# Compile bytecode once, on all cores: with PYTHONDONTWRITEBYTECODE every start would compile all imports again.
NOT_COMPILED := /(tests?|fontTools|lexers|pip|setuptools|pkg_resources|_distutils_hack)/
$(VENV)/.installed: $(VENV)/bin/python $(INPUTS)
	@echo "installing lenscope into $(VENV)"
	@$(BIN)/python -m pip install -q --no-compile -e .
	@[ -e $@ ] || $(BIN)/python -m compileall -q -j 0 -x '$(NOT_COMPILED)' $(VENV)/lib src
	@touch $@

$(VENV)/.installed-notebook: pyproject.toml constraints.txt | $(VENV)/.installed
	@echo "installing Jupyter into $(VENV): 250 MB on disk"
	@$(BIN)/python -m pip install -q --no-compile -e '.[notebook]'
	@touch $@

# For PyTorch, compile only the modules that its import loads: all of them take longer.
$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.installed
	@echo "installing what the tests need into $(VENV), PyTorch too: 1.7 GB on disk"
	@$(BIN)/python -m pip install -q --no-compile -e '.[dev]'
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c 'import torch'
	@touch $@
