# Every target creates .venv and installs what it needs by itself; nothing is done twice.

PYTHON ?= python3
BIN := .venv/bin
PACKAGE := packages/motet
NATIVE := $(shell find $(PACKAGE)/native $(PACKAGE)/CMakeLists.txt -type f 2>/dev/null)
FORMATTED := $(filter %.cpp %.hpp,$(NATIVE)) $(wildcard $(PACKAGE)/tests/native/*.cpp)
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt
# Build tools live in .venv too, so a changed kernel recompiles alone.
INSTALL_MOTET := $(INSTALL) --no-build-isolation --editable

.PHONY: chat test lint format bench wheel nano nano-card clean

chat: .venv/motet
	@$(BIN)/motet chat

test: .venv/development
	$(BIN)/pytest $(PACKAGE)

lint: .venv/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(FORMATTED)
	$(BIN)/mypy

format: .venv/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED)

bench: .venv/development
	$(BIN)/python benchmarks/tokenizer.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/precision.py

wheel: .venv/development
	$(BIN)/python -m build --wheel --outdir dist $(PACKAGE)

# Train the embedded model from scratch (about an hour on two cores), then measure it.
nano: .venv/development
	$(BIN)/python -m motet.training.train_nano

nano-card: .venv/development
	$(BIN)/python -m motet.training.evaluate_nano

clean:
	rm -rf .venv build dist $(PACKAGE)/build

# pip comes last: where it is, the environment is whole.
.venv/bin/pip:
	@echo "Creating .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Motet needs Python 3.11 or newer; name one with make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -m venv .venv

.venv/motet: .venv/bin/pip $(PACKAGE)/pyproject.toml constraints.txt $(NATIVE)
	@test -n "$$CXX" || { command -v c++ || command -v g++ || command -v clang++; } >/dev/null \
		|| { echo "Motet compiles its engine: install a C++20 compiler (Debian: apt install g++)"; exit 2; }
	@$(BIN)/python -c 'import os, sys, sysconfig; \
		sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
		|| { echo "Motet compiles its engine: install Python's headers (Debian: apt install python3-dev)"; exit 2; }
	@echo "Installing motet (compiles the engine, about a minute)"
	@$(INSTALL) "scikit-build-core>=0.10" "nanobind>=2.4" "cmake>=3.26" ninja
	@$(INSTALL_MOTET) $(PACKAGE)
	@touch $@

.venv/development: .venv/motet
	@echo "Installing what tests and training need (torch, transformers)"
	@$(INSTALL_MOTET) "$(PACKAGE)[train,test]"
	@touch $@

.venv/lint: .venv/development
	@$(INSTALL_MOTET) "$(PACKAGE)[lint]"
	@touch $@
