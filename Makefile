# The words of this project. Each sets up .venv by itself, from a plain python3 (3.11 to 3.13); the
# package index, proxy and certificates are those that pip and uv are configured for.

PYTHON ?= python3
UV_VERSION := 0.13.9
READY := .venv/.ready
BIN := .venv/bin
# ray and spark bring hundreds of megabytes, which only who has a cluster needs.
EXTRAS := --all-extras --no-extra ray --no-extra spark

# uv does not read pip's variables; a mirror or a certificate given for pip is meant for it as well.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif

# uv compiles nothing at installation: where Python may not keep what it compiles, each of the many
# processes of a run or a test compiles all that it imports anew, for more time than it works.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run up down status test check tour interop contract cluster spark security browser instance image bench notebook

help:
	@echo "make run     the whole workflow on this machine: ratings to recommendations"
	@echo "make up      start the local stack and leave it running;  make status, make down"
	@echo "make test    the tests"
	@echo "make check   style and types"
	@echo "make tour    every command of the documentation, for real"
	@echo "make interop models to MXNet 1.9.1 and back, in an environment of its own"
	@echo "make contract  the SageMaker SDKs v2 and v3 against the local SageMaker, in environments of their own"
	@echo "make cluster  jobs on a Ray cluster of two simulated nodes, in an environment of its own"
	@echo "make spark   preprocessing on Spark beside DuckDB, in an environment of its own"
	@echo "make security  the security linter's opinion of the stacks, in an environment of its own"
	@echo "make browser the console in a browser: MATINEE_BROWSER, or a chromium that is installed"
	@echo "make instance  the install script of the stack on AWS, run to an Airflow on PostgreSQL"
	@echo "make image   the Dockerfile carried out in a folder, and used as SageMaker does"
	@echo "make bench   the benchmarks, with peers; rewrites the figures of the documentation"
	@echo "make notebook  the notebooks in JupyterLab, on the stack that runs"
	@echo "make setup   only .venv"

run: $(READY)
	$(BIN)/matinee run $(ARGS)

up down status: $(READY)
	$(BIN)/matinee $@ $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n $(or $(WORKERS),3) --dist worksteal $(if $(ARGS),$(ARGS),--prove-operations)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/ruff check --preview --select AIR src/matinee/dags
	$(BIN)/mypy
	$(BIN)/python docs/tables.py --check

tour: $(READY)
	$(BIN)/python -m tests.tour

interop: $(READY)
	MATINEE_INTEROP=$(or $(MATINEE_INTEROP),.interop) $(BIN)/python -m pytest tests/interop $(ARGS)

contract: $(READY)
	MATINEE_CONTRACT=$(or $(MATINEE_CONTRACT),.contract) $(BIN)/python -m pytest tests/contract/test_sdks.py tests/notebooks/test_sagemaker_sdk.py $(ARGS)

cluster: $(READY)
	MATINEE_CLUSTER=$(or $(MATINEE_CLUSTER),.cluster) $(BIN)/python -m pytest tests/sagemaker/jobs/cluster $(ARGS)

spark: $(READY)
	MATINEE_SPARK=$(or $(MATINEE_SPARK),.spark) $(BIN)/python -m pytest tests/workflow/test_engines.py tests/workflow/test_glue.py $(ARGS)

security: $(READY)
	MATINEE_SECURITY=$(or $(MATINEE_SECURITY),.security) $(BIN)/python -m pytest tests/cloud/test_security.py $(ARGS)

browser: $(READY)
	MATINEE_BROWSER=$(or $(MATINEE_BROWSER),$(shell command -v chromium || command -v chromium-browser || command -v google-chrome)) \
	  $(BIN)/python -m pytest tests/sagemaker/console/test_browser.py $(ARGS)

instance: $(READY)
	MATINEE_INSTANCE=$(or $(MATINEE_INSTANCE),.instance) $(BIN)/python -m pytest tests/cloud/test_install.py $(ARGS)

image: $(READY)
	MATINEE_IMAGE=$(or $(MATINEE_IMAGE),.image) $(BIN)/python -m pytest tests/fm/container/test_image.py $(ARGS)

bench: $(READY)
	$(BIN)/python -m benchmarks.recordio --docs docs/recordio.md
	$(BIN)/python -m benchmarks.fm.conformance
	$(BIN)/python -m benchmarks.fm --readme README.md $(ARGS)
	$(BIN)/python -m benchmarks.sagemaker --docs docs/local-sagemaker.md
	$(BIN)/python -m benchmarks.data --scale 10 --jobs --whole --docs docs/scale.md
	$(BIN)/python -m benchmarks.workflow --docs README.md

# With the requirements of the SDK's tests: the SDK cannot share an environment with Airflow.
notebook: $(READY)
	eval "$$($(BIN)/matinee env)" && exec .uv/bin/uv run --isolated --no-project --python $(BIN)/python \
	  --with-requirements tests/contract/requirements-v2.txt --with-editable '.[workflow]' \
	  --with jupyterlab jupyter lab $(or $(ARGS),notebooks)

setup: $(READY)

$(READY): pyproject.toml uv.lock .uv/uv-$(UV_VERSION)
ifeq ($(strip $(UV_DEFAULT_INDEX) $(UV_INDEX_URL) $(UV_INDEX) $(UV_EXTRA_INDEX_URL)),)
	.uv/bin/uv sync --frozen $(EXTRAS) --python $(PYTHON)
else
	@# The lock file names where its files came from; another index is asked for the same files.
	.uv/bin/uv export --quiet --frozen $(EXTRAS) --no-emit-project --output-file .uv/locked.txt
	test -e $(BIN)/python || .uv/bin/uv venv --python $(PYTHON) .venv
	.uv/bin/uv pip sync --python $(BIN)/python --require-hashes .uv/locked.txt
	.uv/bin/uv pip install --python $(BIN)/python --no-deps --editable .
endif
	@touch $@

.uv/uv-$(UV_VERSION):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "matinee needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is: $$($(PYTHON) --version 2>&1)" >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .uv || { \
	  echo "$(PYTHON) -m venv failed; Debian and Ubuntu have it in the package python3-venv" >&2; exit 1; }
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@
