# Every target creates .venv and installs what it needs by itself; nothing is done twice.

PYTHON ?= python3
BIN := .venv/bin
PACKAGE := packages/motet
PROJECTIVE := packages/projective
NATIVE := $(shell find $(PACKAGE)/native $(PACKAGE)/CMakeLists.txt -type f 2>/dev/null)
FORMATTED := $(filter %.cpp %.hpp,$(NATIVE)) $(wildcard $(PACKAGE)/tests/native/*.cpp)
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt
# Build tools live in .venv too, so a changed kernel recompiles alone.
INSTALL_MOTET := $(INSTALL) --no-build-isolation --editable

.PHONY: chat test lint format bench sanitize wheel nano nano-card clean

chat: .venv/motet
	@$(BIN)/motet chat

test: .venv/development .venv/projective
	$(BIN)/pytest $(PACKAGE)
	$(BIN)/pytest $(PROJECTIVE)

lint: .venv/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(FORMATTED)
	$(BIN)/mypy

format: .venv/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED)

bench: .venv/development .venv/projective
	$(BIN)/python benchmarks/tokenizer.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/precision.py
	$(BIN)/python benchmarks/decomposition.py
	$(BIN)/python benchmarks/speculation.py

# Kernels on every instruction set here and the engine's tests under AddressSanitizer and
# UndefinedBehaviorSanitizer, the thread pool under ThreadSanitizer. Without site-packages' start-up
# files (-S) Python takes the instrumented engine and not the installed one.
SANITIZED := $(abspath build/sanitize)
SANITIZERS := -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all
sanitize: .venv/development
	$(BIN)/cmake -S $(PACKAGE)/tests/native -B $(SANITIZED)/checks -G Ninja -DCMAKE_BUILD_TYPE=Release \
		-DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja)
	$(BIN)/cmake --build $(SANITIZED)/checks
	$(SANITIZED)/checks/pool_check
	$(SANITIZED)/checks/kernel_check --all
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --upgrade --target $(SANITIZED)/site \
		--config-settings=build-dir=$(SANITIZED)/engine --config-settings=cmake.build-type=Sanitized \
		--config-settings=cmake.define.CMAKE_CXX_FLAGS="-O1 -g -fno-omit-frame-pointer $(SANITIZERS)" \
		$(PACKAGE)
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libstdc++.so)" \
	PYTHONPATH=$(SANITIZED)/site:$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
		$(BIN)/python -S -m pytest -q $(PACKAGE)/tests/engine --ignore $(PACKAGE)/tests/engine/test_foreign_kernels.py

wheel: .venv/development
	$(BIN)/python -m build --wheel --outdir dist $(PACKAGE)

# Train the embedded model from scratch (80 minutes on two cores that multiply bfloat16), then measure it.
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

.venv/projective: .venv/bin/pip $(PROJECTIVE)/pyproject.toml constraints.txt
	@echo "Installing projective and what its tests need"
	@$(INSTALL) --editable "$(PROJECTIVE)[test]"
	@touch $@

.venv/lint: .venv/development .venv/projective
	@$(INSTALL_MOTET) "$(PACKAGE)[lint]"
	@touch $@
