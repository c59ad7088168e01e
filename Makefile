PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install run test coverage bench lint simulate zoo kills fuzz mutants lock clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "lotwise needs Python 3.11 or newer; this is %d.%d. Set PYTHON=python3.12, say." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

run: install
	$(BIN)/lotwise run

# Each file in one process, as some share what is dear to make; three at once on two cores, as some wait
# for processes that they started.
test: install
	@$(MAKE) --no-print-directory -j 2 lint coverage
	$(BIN)/pytest -n 3 --dist loadfile

# Every line and branch of the pure core is run by the tests that are about it (those that only repeat
# themselves left out).
CORE := values policy ceiling orders ledger sizing_behaviour sizing_properties allocation engine
coverage: install
	LOTWISE_CASES=2000 $(BIN)/pytest $(CORE:%=tests/test_%.py) -p no:lotwise --no-header \
		-k "not compiled and not listed_markets and not magnitude" \
		--cov=lotwise.domain --cov=lotwise.ledger --cov-branch --cov-fail-under=100

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m benchmarks

# Scenarios of the simulated world (SEEDS=n, 300 take about ten minutes), and its bugs put back.
simulate: install
	$(BIN)/python -m world $(or $(SEEDS),300)

zoo: install
	LOTWISE_ZOO=1 $(BIN)/pytest tests/test_world.py

# A live run ended by SIGKILL at random moments (KILLS=n; 200 take about 25 minutes).
kills: install
	LOTWISE_KILLS=$(or $(KILLS),200) $(BIN)/pytest tests/test_live_kills.py

# The bounded fuzz of the suite, at length.
fuzz: install
	LOTWISE_FUZZ=100000 LOTWISE_OPERATIONS=100000 $(BIN)/pytest tests/test_sandbox_rest_fuzz.py \
		tests/test_sandbox_stream_fuzz.py tests/test_sandbox_door_fuzz.py tests/test_sandbox_conservation.py

mutants: install
	$(BIN)/python -m benchmarks.mutants

lock:
	uv pip compile --universal --generate-hashes --all-extras pyproject.toml -o requirements.lock

clean:
	rm -rf .venv mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis
