# One command per verb, the same for a person and for CI.
PYTHON ?= python3
BIN := .venv/bin
MINUTES := 60
SOURCES := CMakeLists.txt pyproject.toml README.md $(shell find native src -type f -not -name '*.pyc' -not -name 'rmsprop_native.*')
# Pins hold for installs and for build environments; newer pips read the second name for the latter.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without a C++ compiler the package is built without its kernel, and says so when it is used: enough for the demo.
COMPILER := $(shell command -v $${CXX:-c++} || command -v g++ || command -v clang++)
BUILT := dist/built$(if $(COMPILER),,-without-the-kernel)
WITHOUT := $(if $(COMPILER),,--config-settings=wheel.cmake=false)
GET_ONE := Debian and Ubuntu: apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install

.PHONY: demo compiler test lint format bench bench-gpu clients pages docs sanitize attack mutants wheels constraints clean
.DELETE_ON_ERROR:

demo: .venv/lab  ## train on handwritten digits and show where the pictures are
	$(BIN)/rmsprop train digits --force
	@echo "Pictures: runs/digits/loss.png and runs/digits/report.html"

compiler:
	@$(if $(COMPILER),true,echo "error: this needs the kernel, and there is no C++20 compiler here ($(GET_ONE)); make demo works without." >&2; exit 2)

test: compiler .venv/test  ## the whole suite, against the installed wheel
	KERAS_BACKEND=torch $(BIN)/pytest --pyargs rmsprop --doctest-modules tests README.md docs
	KERAS_BACKEND=jax $(BIN)/pytest tests/keras
	KERAS_BACKEND=tensorflow $(BIN)/pytest tests/keras

lint: .venv/lint  ## ruff, mypy --strict, clang-format
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/clang-format --dry-run --Werror native/*

format: .venv/lint  ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/clang-format -i native/*

bench: compiler .venv/test  ## measure against the peers; raw logs go to benchmarks/results/, medians to the history and its page
	$(BIN)/python -m benchmarks
	$(BIN)/python -m docs.generate.benchmarks docs

bench-gpu: .venv/test  ## test and measure on a GPU, against torch's optimizers and a copy of memory
	$(BIN)/python -m benchmarks.gpu

clients: compiler .venv/clients  ## run every example with its client, and rewrite the page of clients
	$(BIN)/python -m examples
	$(BIN)/pytest tests/test_examples.py

pages: .venv/lab  ## rewrite the generated pages of the documentation
	$(BIN)/python -m docs.generate.dialects docs
	$(BIN)/python -m docs.generate.benchmarks docs
	$(BIN)/python -m docs.generate.front docs
	$(BIN)/python -m docs.generate.question docs
	$(BIN)/python -m docs.generate.sparse_features docs

docs: .venv/docs  ## the documentation as a site
	$(BIN)/mkdocs build --strict --site-dir build/site

sanitize: compiler .venv/test  ## the kernel under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
	$(BIN)/python tests/native/sanitize.py build/sanitize

attack: .venv/test  ## damaged files, kills, full disks and any order of uses, for an hour; make attack MINUTES=10
	cd tests && ../$(BIN)/python -m attack $(MINUTES)

mutants: .venv/test  ## small faults in the rule, the dialects, the reference, clipping, rows and the kernel: do tests notice?
	cd tests && ../$(BIN)/python -m attack.mutants ../build/mutants.jsonl

wheels: .venv/release  ## wheels for every platform and the source archive in build/release, checked
	$(BIN)/python -m release.wheels build/release

constraints: .venv/release  ## pin the newest versions that fit together; then: make test
	$(BIN)/python -m release.constraints

clean:
	rm -rf .venv build dist

.venv/created:
	$(PYTHON) -m venv .venv
	touch $@

$(BUILT): .venv/created $(SOURCES) constraints.txt
	@$(if $(COMPILER),true,echo "No C++20 compiler here ($(GET_ONE)): building without the kernel." >&2)
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps $(WITHOUT) --wheel-dir dist .
	touch $@

# .venv/lab, .venv/test ...: the wheel with that extra. A rebuilt wheel of the same version must be forced in.
.venv/%: $(BUILT)
	$(BIN)/pip install --quiet "$$(echo dist/*.whl)[$*]"
	$(BIN)/pip install --quiet --no-deps --force-reinstall dist/*.whl
	touch $@
