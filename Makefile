# Everything sets itself up in $(VENV): a new clone needs git, make and Python 3.10 or newer, and uses a C compiler if
# there is one.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Processes that run tests side by side.
JOBS ?= 2
SOURCES := $(shell git ls-files pyproject.toml README.md 'tracekit/*' 'harness/*' 'golden/*' 2>/dev/null)
C_SOURCES := $(wildcard tracekit/_native/*.c)

.PHONY: demo test check check-long bench docs wheel clean help

help:
	@echo "make demo        generate data, record a training loop, replay it, judge it (under two minutes after set-up)"
	@echo "make test        the whole test suite, against the built wheel"
	@echo "make check       ruff, mypy --strict, import-linter, C warnings as errors"
	@echo "make check-long  soaks, kill storms, peers, other examples for the properties: before a capability is called done"
	@echo "make bench       the benchmarks behind docs/performance.md"
	@echo "make docs        the HTML documentation in docs/_build"

demo: $(VENV)/.installed $(VENV)/.torch
	$(BIN)/harness demo

# What measures nothing runs side by side; what looks at times or at the whole machine follows alone, also when something has
# failed before.
test: $(VENV)/.installed $(VENV)/.torch $(VENV)/.tests $(VENV)/.azurite $(VENV)/.goldens
	@export TRACEKIT_TESTS_USE_INSTALLED=1; ran=; failed=; \
	part() { \
	  echo "== tests $$1: $$2"; $(BIN)/pytest -m "not long and $$2" $$3 $(PYTEST_ARGS); \
	  case $$? in 0) ran=yes;; 5) echo "none of them asked for";; *) failed=yes;; esac; }; \
	part "side by side" "not serial" "-n $(JOBS) --dist loadfile --no-loadscope-reorder"; \
	part "one by one" "serial"; \
	test -z "$$failed" -a -n "$$ran"

check-long: $(VENV)/.installed $(VENV)/.torch $(VENV)/.tests $(VENV)/.azurite $(VENV)/.peers
	TRACEKIT_TESTS_USE_INSTALLED=1 TRACEKIT_TESTS_EXPLORE=1 $(BIN)/pytest -m long $(PYTEST_ARGS)
	TRACEKIT_TESTS_USE_INSTALLED=1 TRACEKIT_TESTS_EXPLORE=1 $(BIN)/pytest -m "not long" tests/property

check: $(VENV)/.installed $(VENV)/.checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v $(CC) >/dev/null; then for source in $(C_SOURCES); do \
	  $(CC) -std=c11 -O2 -Wall -Wextra -Wno-unused-parameter -Werror -DPy_LIMITED_API=0x030a0000 \
	    -I$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_paths()['include'])") \
	    -c $$source -o /dev/null || exit 1; done; echo "C: no warnings"; \
	else echo "C: not checked, there is no $(CC) here"; fi

bench: $(VENV)/.installed $(VENV)/.torch $(VENV)/.tests $(VENV)/.peers
	@for bench in tests/bench/bench_*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

docs: $(VENV)/.installed $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

wheel: $(VENV)/.installed

# ---- set-up: each step leaves a stamp and is done again when what it depends on changed -----------------------------

$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "tracekit needs Python 3.10 or newer; name one with make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	@touch $@

# The wheel is built from the tree as it is and installed; nothing runs from the source folder.
$(VENV)/.installed: $(VENV)/.pip $(SOURCES)
	@rm -rf $(VENV)/wheel build
	@# setuptools calls the tables that build the extension experimental, once per table and step; nothing else is hidden.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip wheel -q --no-deps -w $(VENV)/wheel .
	$(BIN)/python -m pip install -q "$$(ls $(VENV)/wheel/tracekit_io-*.whl)"
	$(BIN)/python -m pip install -q --force-reinstall --no-deps "$$(ls $(VENV)/wheel/tracekit_io-*.whl)"
	@# -I: without it Python would find the source folder first, which holds no core.
	@$(BIN)/python -I -c 'import tracekit._core' 2>/dev/null \
	  || echo "note: the native core could not be built (it needs a C compiler and Python's headers); the Python twins do the work"
	@touch $@

$(VENV)/.torch: $(VENV)/.pip pyproject.toml
	$(BIN)/python -m pip install -q --group torch
	@touch $@

$(VENV)/.tests: $(VENV)/.pip pyproject.toml
	$(BIN)/python -m pip install -q --group test
	@touch $@

# The Azure emulator; where there is no npm, the tests that need it skip and say so.
$(VENV)/.azurite: $(VENV)/.pip
	@command -v npm >/dev/null && npm install --silent --no-audit --no-fund --prefix $(VENV)/azurite azurite@3.37.0 >/dev/null 2>&1 \
	  || echo "note: Azurite cannot be installed here (it needs npm)"
	@touch $@

# The frameworks that goldens are recorded from, each apart, both at once. What cannot be installed here is left out, and the
# tests that want it say so.
$(VENV)/.goldens: $(VENV)/.pip
	@for framework in tensorflow=tensorflow-cpu jax=jax,grain,array-record; do ( \
	  home=$(VENV)/peers/$${framework%%=*}; packages=$$(echo $${framework##*=} | tr , ' '); \
	  $(PYTHON) -m venv $$home && $$home/bin/python -m pip install -q $$packages \
	    || { echo "note: $$packages cannot be installed here"; rm -rf $$home; } ) & done; wait
	@touch $@

# What the recorder is held against, apart because its dependencies do not go with ours; TensorFlow's is above.
$(VENV)/.peers: $(VENV)/.pip $(VENV)/.goldens
	@for peer in dftracer=dftracer; do \
	  $(PYTHON) -m venv $(VENV)/peers/$${peer%%=*} && \
	  $(VENV)/peers/$${peer%%=*}/bin/python -m pip install -q $${peer##*=} \
	    || { echo "note: $${peer##*=} cannot be installed here"; rm -rf $(VENV)/peers/$${peer%%=*}; }; done
	@touch $@

$(VENV)/.checks: $(VENV)/.pip pyproject.toml
	$(BIN)/python -m pip install -q --group check
	@touch $@

$(VENV)/.docs: $(VENV)/.pip pyproject.toml
	$(BIN)/python -m pip install -q --group docs
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build
