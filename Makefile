# `make demo` and `make test` need only Python 3.11 or newer, make and a package index.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$$p" && break; done)
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
INSTALLED := build/installed

.PHONY: demo test lint matrix bench docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/ready
	rm -rf barospec-demo
	$(VENV)/bin/barospec demo barospec-demo

test: $(VENV)/ready-test
	$(PY) -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(VENV)/ready-lint
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	rm -rf build/lib build/bdist* $(INSTALLED)
	$(PIP) --no-deps --target $(INSTALLED) .
	# mypy and import-linter find the mapped folders only when installed, and from outside the checkout.
	cd $(INSTALLED) && ../../$(PY) -m mypy --config-file ../../pyproject.toml -p barospec
	cd $(INSTALLED) && ../../$(VENV)/bin/lint-imports ../../pyproject.toml

# Test with every Python of this machine, the lowest versions allowed, and an upgrade; see .ci/matrix.py.
matrix: | $(PY)
	$(PIP) uv
	$(PY) .ci/matrix.py $(ARGS)

bench: $(VENV)/ready-test
	$(PY) -m benchmarks $(ARGS)

# Generate pages from the code: fields, operators, the schema of the run sheet.
docs: $(VENV)/ready-test
	$(PY) docs/generate.py

clean:
	rm -rf build barospec-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(PY):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; use make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; use make PYTHON=/path/to/python3" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/ready: pyproject.toml | $(PY)
	$(PIP) -e .
	@touch $@

$(VENV)/ready-test: pyproject.toml | $(PY)
	$(PIP) -e '.[test]'
	@touch $@ $(VENV)/ready

$(VENV)/ready-lint: pyproject.toml | $(PY)
	$(PIP) -e '.[test,lint]'
	@touch $@ $(VENV)/ready $(VENV)/ready-test
