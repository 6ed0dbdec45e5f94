# Each target makes its own virtual environment when it is missing or out of date.
# Another Python: make test PYTHON=python3.12

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready
# Two test processes, one computing thread each: two OpenMP pools on the same cores slow each other tenfold.
TEST_PROCESSES ?= 2
# Which tests: make test TESTS='-m "not slow and not llm"'
TESTS ?= -m "not llm"

.PHONY: help demo test lint format docs bench constraints clean

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /make \1\t/' | expand -t 20

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
	touch $@

demo: $(READY)  ## the whole flow on the embedded world, into a new folder demo/TIME
	$(BIN)/dalda demo -o "demo/$$(date +%Y-%m-%d-%H%M%S)"

test: $(READY)  ## all tests but those marked llm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) $(TESTS)

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/ruff format --check src tests tools benchmarks
	$(BIN)/mypy

format: $(READY)  ## what lint would ask for, done
	$(BIN)/ruff check --fix src tests tools benchmarks
	$(BIN)/ruff format src tests tools benchmarks

docs: $(READY)  ## docs/command-line.md, written from the command line itself
	$(BIN)/python -m typer dalda.cli utils docs --name dalda --title "The command line" --output docs/command-line.md

bench: $(READY)  ## every benchmark, one JSON object each
	set -e; for benchmark in $(sort $(wildcard benchmarks/*.py)); do $(BIN)/python $$benchmark --json; done

constraints:  ## constraints.txt again, from what an empty environment would get today
	rm -rf build/constraints && mkdir -p build
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet --dry-run --ignore-installed --report build/resolved.json \
		'torch==2.13.0' -e '.[test,dev,local-llm]'
	$(PYTHON) -c 'import json, re; print(*sorted(re.sub("[-_.]+", "-", m["name"]).lower() + "==" + m["version"].split("+")[0] \
		for m in (i["metadata"] for i in json.load(open("build/resolved.json"))["install"]) if m["name"] != "dalda"), \
		sep="\n")' > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:  ## removes what these targets made; results in demo/ stay
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
