# `make help` lists the targets. Plain cargo works too, once `make setup` has run.

SHELL := /bin/sh
CARGO ?= cargo
PYTHON ?= python3
PREFIX ?= /usr/local

# Where models/setup.py keeps what it fetches.
CACHE_DIR = $(or $(DEMARCHE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/demarche)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Fetch libtorch and the base model, once, and tell cargo where they are
	@command -v $(PYTHON) >/dev/null || { echo "set-up: $(PYTHON) is not in PATH: install python 3.9 or later, with pip" >&2; exit 1; }
	@$(PYTHON) models/setup.py

.PHONY: build
build: setup ## Build target/release/demarche
	$(CARGO) build --release

.PHONY: demo
demo: build ## Watch a bundled sample of feeds: the main job from end to end
	target/release/demarche demo

.PHONY: test
test: setup ## Run every test
	$(CARGO) test

.PHONY: check
check: lint doc-check test small ## All that CI runs

.PHONY: lint
lint: setup ## Formatting and clippy, warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --all-targets --no-default-features -- -D warnings

.PHONY: doc-check
doc-check: setup
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

.PHONY: small
small: ## Build the variant without libtorch
	$(CARGO) build --no-default-features

.PHONY: bench
bench: setup ## Measure (criterion); results in target/criterion
	$(CARGO) bench

.PHONY: doc
doc: setup ## Build the documentation into target/doc
	$(CARGO) doc --no-deps

.PHONY: install
install: build ## Install into PREFIX (default /usr/local); DESTDIR is honoured
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/demarche
	install -m 755 target/release/demarche $(DESTDIR)$(PREFIX)/bin/demarche
	if [ -n "$$LIBTORCH$$LIBTORCH_USE_PYTORCH" ]; then echo "your own libtorch stays where it is"; \
	else cp -P "$(CACHE_DIR)"/libtorch-2.4.1/lib/*.so* $(DESTDIR)$(PREFIX)/lib/demarche/; fi

.PHONY: uninstall
uninstall: ## Remove what `make install` put into PREFIX
	rm -f $(DESTDIR)$(PREFIX)/bin/demarche
	rm -rf $(DESTDIR)$(PREFIX)/lib/demarche

.PHONY: clean
clean: ## Remove what was built here (the cache stays)
	$(CARGO) clean

.PHONY: clean-cache
clean-cache: ## Remove libtorch and the base model from the cache
	cd "$(CACHE_DIR)" && rm -rf libtorch-2.4.1 all-MiniLM-L6-v2 .downloads .lock
