# One command per verb, the same for a person and for CI.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := CMakeLists.txt pyproject.toml README.md $(shell find native src -type f -not -name '*.pyc' -not -name 'rmsprop_native.*')
# Pins hold for installs and for build environments; newer pips read the second name for the latter.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint format bench bench-gpu pages docs sanitize wheels constraints clean
.DELETE_ON_ERROR:

demo: .venv/lab  ## train on handwritten digits and show where the pictures are
	$(BIN)/rmsprop train digits --force
	@echo "Pictures: runs/digits/loss.png and runs/digits/report.html"

test: .venv/test  ## the whole suite, against the installed wheel
	KERAS_BACKEND=torch $(BIN)/pytest --pyargs rmsprop --doctest-modules tests README.md docs
	KERAS_BACKEND=jax $(BIN)/pytest tests/keras
	KERAS_BACKEND=tensorflow $(BIN)/pytest tests/keras

lint: .venv/lint  ## ruff, mypy --strict, clang-format
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/clang-format --dry-run --Werror native/*

format: .venv/lint  ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/clang-format -i native/*

bench: .venv/test  ## measure against the peers; raw logs go to benchmarks/results/, medians to the history and its page
	$(BIN)/python -m benchmarks
	$(BIN)/python -m docs.generate.benchmarks docs

bench-gpu: .venv/test  ## test and measure on a GPU, against torch's optimizers and a copy of memory
	$(BIN)/python -m benchmarks.gpu

pages: .venv/lab  ## rewrite the generated pages of the documentation
	$(BIN)/python -m docs.generate.dialects docs
	$(BIN)/python -m docs.generate.benchmarks docs

docs: .venv/docs  ## the documentation as a site
	$(BIN)/mkdocs build --strict --site-dir build/site

sanitize: .venv/test  ## the kernel under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
	$(BIN)/python tests/native/sanitize.py build/sanitize

wheels: .venv/release  ## wheels for every platform and the source archive in build/release, checked
	$(BIN)/python -m release.wheels build/release

constraints: .venv/release  ## pin the newest versions that fit together; then: make test
	$(BIN)/python -m release.constraints

clean:
	rm -rf .venv build dist

.venv/created:
	$(PYTHON) -m venv .venv
	touch $@

dist/built: .venv/created $(SOURCES) constraints.txt
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	touch $@

# .venv/lab, .venv/test ...: the wheel with that extra. A rebuilt wheel of the same version must be forced in.
.venv/%: dist/built
	$(BIN)/pip install --quiet "$$(echo dist/*.whl)[$*]"
	$(BIN)/pip install --quiet --no-deps --force-reinstall dist/*.whl
	touch $@
