# Two commands: `make demo` shows Millrace at work on real input, `make test` runs every test. Both set up first.

VENV := .venv
PY := $(VENV)/bin/python
PYTHONS := python3.13 python3.12 python3.11 python3
RUNNABLE := $(VENV)/.runnable
READY := $(VENV)/.ready
COVERED := 85
export UV_SYSTEM_CERTS := true
export UV_NATIVE_TLS := true

.DEFAULT_GOAL := help
.PHONY: help setup demo test screenshots kill-test faults mutations backlog neighbours chat-bench check up down lock clean fuzz

help:
	@echo "make demo    set up, start everything, ingest real input, ask questions, stop"
	@echo "make test    set up, run every test on real servers"
	@echo "make screenshots   take the pictures of the chat page in docs/images again"
	@echo "make kill-test EVENTS=2000 KILLS=20 SEED=1   kill everything again and again, compare every sink"
	@echo "make faults  break real servers in every way of the fault catalogue, and print what held"
	@echo "make fuzz EXAMPLES=50 SEED=1   requests made of the OpenAPI document: none may be a server error"
	@echo "make mutations   break the delivery layer on purpose, one promise at a time, and see the tests notice"
	@echo "make backlog EVENTS=1000000   memory of workers that find so many events waiting"
	@echo "make neighbours  what one workspace's flood costs another"
	@echo "make chat-bench  what a chat over the log costs, beside asking the model server directly"
	@echo "make check   lint, format, types, import arrows"
	@echo "make up      start the local stack        make down   stop it"
	@echo "make lock    resolve the requirements again"
	@echo "make clean   stop the local stack and delete it, the environment and all caches in this folder"

setup: $(READY)

# A name on the PATH may be a shim without a Python behind it, or a Python without venv: try each until one works.
$(PY):
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && rm -rf $(VENV) && $$python -m venv $(VENV) 2>/dev/null; then \
	    echo "made $(VENV) with $$($$python --version)"; exit 0; \
	  fi; \
	done; \
	rm -rf $(VENV); echo "no Python 3.11 or newer with its venv module; install one of: $(PYTHONS)" >&2; exit 1

# uv takes seconds where pip takes a minute; where uv cannot do it, pip does. Both trust the machine's own authorities:
# a company's proxy signs with one of those.
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
UV := $(PY) -m uv pip install --quiet --python $(PY)

# What running takes, in the versions of the lock, and no more: the tools of tests and checks are as large again.
$(RUNNABLE): pyproject.toml requirements.lock | $(PY)
	@$(PIP) uv || true
	@$(UV) -c requirements.lock -e ".[local]" \
	  || { echo "uv could not install; trying pip" >&2 && $(PIP) -c requirements.lock -e ".[local]" ; }
	@touch $(RUNNABLE)

$(READY): $(RUNNABLE)
	@$(UV) -r requirements.lock || { echo "uv could not install; trying pip" >&2 && $(PIP) -r requirements.lock ; }
	@touch $(READY)

demo: $(RUNNABLE)
	@$(VENV)/bin/millrace demo

test: setup
	@$(PY) -m pytest -n 2 --dist loadscope -m "not slow" --durations=20 \
	  --cov --cov-report=term:skip-covered --cov-fail-under=$(COVERED)

screenshots: setup
	@MILLRACE_SCREENSHOTS=docs/images $(PY) -m pytest tests/flow/test_page.py

# EVENTS deliveries while KILLS processes die; ENCODER=minilm for the real encoder; KILL_TEST=--help for the rest.
EVENTS := 2000
KILLS := 20
SEED := 1
ENCODER := hash
kill-test: setup
	@$(PY) -m bench.kill_test --events $(EVENTS) --kills $(KILLS) --seed $(SEED) --encoder $(ENCODER) $(KILL_TEST)

faults: setup
	@$(PY) -m pytest tests/faults

# EXAMPLES requests of each kind and operation, made of the OpenAPI document with SEED.
fuzz: EXAMPLES := 50
fuzz: setup
	@MILLRACE_FUZZ_EXAMPLES=$(EXAMPLES) MILLRACE_FUZZ_SEED=$(SEED) $(PY) -m pytest tests/flow/test_openapi.py

# MUTATIONS="plain-ack --json" for some of them and further options.
mutations: setup
	@$(PY) -m bench.mutations $(MUTATIONS)

# BACKLOG=--help for the rest.
backlog: EVENTS := 1000000
backlog: setup
	@$(PY) -m bench.backlog --events $(EVENTS) $(BACKLOG)

# NEIGHBOURS="--encoder minilm --uploads 1000 --rows 20000"; --help for the rest.
neighbours: setup
	@$(PY) -m bench.neighbours $(NEIGHBOURS)

# CHAT_BENCH="--litellm PATH" to measure a LiteLLM proxy of its own environment beside it; --help for the rest.
chat-bench: setup
	@$(PY) -m bench.chat $(CHAT_BENCH)

check: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports

up: $(RUNNABLE)
	@$(VENV)/bin/millrace up

down: $(RUNNABLE)
	@$(VENV)/bin/millrace down

lock: setup
	@$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --upgrade \
	  --extra local --extra dev pyproject.toml --output-file requirements.lock
	@$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --upgrade \
	  tests/frameworks/requirements.in --output-file tests/frameworks/requirements.lock

clean:
	@if [ -x $(VENV)/bin/millrace ]; then $(VENV)/bin/millrace down --wipe; fi
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*
