# Every target sets up what it needs in .venv. Nothing is needed beforehand but
# Python 3.11 (with its venv module) and make; uv is used where it is present.

# The system's Python comes first: distributions build theirs with the optimisations
# that pyenv leaves out unless asked, and a send takes a fifth less of the processor.
PYTHON ?= $(shell for python in /usr/bin/python3.11 python3.11 python3; do \
  $$python -c "import ensurepip, venv" 2>/dev/null && command -v $$python && exit; \
  done; echo python3)
BIN := .venv/bin
# What Python compiles is kept, whatever the shell says: the tests start a thousand processes.
export PYTHONDONTWRITEBYTECODE :=
READY := .venv/.ready

.PHONY: demo test long lint bench clean lock

demo: $(READY)  ## send the sample campaign to a provider on this machine
	@# 1 is its good end: the sample list has addresses that the sandbox refuses.
	@$(BIN)/mailvolley send campaigns/welcome.toml --sandbox || test $$? -eq 1

test: $(READY)  ## every test but the long ones
	$(BIN)/pytest -q -n 2 --dist worksteal

long: $(READY)  ## the long tests: minutes to an hour
	$(BIN)/pytest -q -m long
	PYTHONPATH=tests $(BIN)/python -m simulation --seeds 0-100000

lint: $(READY)  ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)  ## measure, and print the tables of the README
	$(BIN)/python -m benchmarks

$(READY): requirements.lock pyproject.toml
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --clear --python "$(PYTHON)" .venv && \
	  uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	  "$(PYTHON)" -m venv --clear .venv || { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; } ; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

lock:  ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --group dev --universal --generate-hashes \
	  --no-header --no-emit-index-url --python-version 3.11 -o requirements.lock

clean:  ## remove what the targets made
	rm -rf .venv runs benchmarks/out .pytest_cache .mypy_cache .ruff_cache .hypothesis
