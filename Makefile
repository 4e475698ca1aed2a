# Everything runs in .venv; `make install` makes it when it is missing or older than the pins.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 && { echo $$p; break; }; done)
PYTEST_ARGS ?=

.PHONY: install env demo replay test lint bench docs lock clean

install: $(VENV)/installed

$(VENV)/installed: requirements.txt setup.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed and neither python3.11, python3.12, python3 nor python is one"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@uv=$$(command -v uv || echo $(BIN)/uv); \
	$$uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt && \
	$$uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

env:
	@$(PYTHON) docker/env.py

demo: install
	@$(BIN)/python include/demo/story.py

replay: install
	@$(BIN)/python include/demo/flights.py $${CT_HOME:-.ct}/data/flights
	@$(BIN)/ct replay flight_delays --proxy --from 2013-03-01 $(REPLAY_ARGS)

test: install
	@$(BIN)/python -m pytest --numprocesses logical --no-loadscope-reorder $(PYTEST_ARGS)

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PATH="$(abspath $(BIN)):$$PATH" lint-imports

bench: install
	@for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

docs: install
	@$(BIN)/python docs/build.py

COMPILE := pip compile --generate-hashes --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	--no-emit-find-links --quiet
EXTRAS := --extra postgres --extra s3 --extra docker --extra celery --extra dask --extra fairness
PINS := grep -o '^[^ ]*==[^ ;]*' requirements.txt

lock: install
	@uv=$$(command -v uv || echo $(BIN)/uv); \
	$$uv $(COMPILE) setup.py $(EXTRAS) --extra sign --extra demo --extra test --output-file requirements.txt && \
	$(PINS) | $$uv $(COMPILE) setup.py $(EXTRAS) --constraint - --output-file docker/control-with-work.txt && \
	for plane in work control serve; do \
	  $(PINS) | $$uv $(COMPILE) docker/$$plane.in --constraint - --output-file docker/$$plane.txt || exit 1; \
	done; \
	echo uv | $$uv $(COMPILE) - --output-file docker/build.txt

clean:
	@rm -rf $(VENV) .ct build dist
