# Every target sets up what it needs by itself. Start with: make demo
VENV ?= .venv
PYTHON ?=
RANKS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); [ $$cores -ge 2 ] && echo 2 || echo 1)
CASE ?= demos/heartbeat/case.toml

bin := $(VENV)/bin
mpiexec := $(bin)/mpiexec
export VENV PYTHON
# Ranks are the parallelism; threads below them only fight for cores.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo test test-all test-parallel lint format verify audit docs gallery lock clean site

help: ## List the targets.
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "%-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv with the pinned packages (does nothing when it is up to date).
	@bash scripts/setup.sh

demo: setup ## Run the heartbeat: image, mesh, fibres, one beat, report.
	$(mpiexec) -n $(RANKS) $(bin)/organtwin run $(CASE)

test: setup lint site ## Check style, types and the site, run the tests, those of ranks on two.
	timeout 1500 $(bin)/python -m pytest -q -n $(RANKS) --dist loadfile --no-loadscope-reorder -m "not slow" \
	    --ignore tests/parallel
	$(MAKE) --no-print-directory test-parallel

test-parallel: setup ## Run the tests of tests/parallel on two ranks.
	timeout 600 $(mpiexec) -n 2 $(bin)/python -m pytest -q -p no:cacheprovider -m "not slow" tests/parallel

test-all: setup lint ## As test, with the slow ones.
	$(bin)/python -m pytest
	$(mpiexec) -n 2 $(bin)/python -m pytest -p no:cacheprovider tests/parallel
	MPIR_CVAR_ENABLE_HEAVY_YIELD=1 $(mpiexec) -n 3 $(bin)/python -m pytest -p no:cacheprovider \
	    tests/parallel/test_rank_invariance.py

lint: setup ## Check style and types.
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

format: setup ## Let ruff lay out the code.
	$(bin)/ruff format .
	$(bin)/ruff check --fix .

verify: setup ## Run the verification problems and compare with their references.
	$(bin)/organtwin verify

# In an environment of its own: what looks for flaws is no part of what is looked at.
audit: setup ## Bill of materials (bom.cdx.json), and known flaws of the pinned packages; needs the network.
	$(bin)/organtwin bom -o bom.cdx.json
	[ -x $(VENV)-audit/bin/pip-audit ] || { $(bin)/python -m venv $(VENV)-audit \
	    && $(VENV)-audit/bin/pip install --quiet pip-audit; }
	$(VENV)-audit/bin/pip-audit --strict --requirement requirements.lock --no-deps --disable-pip \
	    || { echo "pip-audit found flaws, or could not look up a package: it needs a database on the network."; exit 1; }

docs: setup ## Write the pages of case files from their schemas.
	$(bin)/python scripts/write_case_reference.py

site: setup ## Make the documentation's site, build/site/docs/index.html; warnings are errors.
	$(bin)/python docs/site/pages.py
	$(bin)/python -m sphinx -q -W --keep-going -b html -c docs/site -d build/doctrees . build/site

gallery: setup ## Make the meshes of the gallery in meshes/ anew.
	$(bin)/python scripts/make_gallery.py

lock: setup ## Resolve pyproject.toml anew into requirements.lock.
	$(bin)/uv pip compile pyproject.toml --extra wheel --extra dev --universal \
	    --python-version 3.12 --no-header --no-annotate --upgrade -o requirements.lock.new -q
	{ sed -n '/^#/p' requirements.lock; grep -v '^#' requirements.lock.new; } > requirements.lock.next
	mv requirements.lock.next requirements.lock && rm requirements.lock.new

clean: ## Remove the environment and caches, not results.
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
