# `make help` lists the targets. Plain cargo works too, once `make setup` has run.

SHELL := /bin/sh
CARGO ?= cargo
PYTHON ?= python3
PREFIX ?= /usr/local
TO = $(DESTDIR)$(PREFIX)
# What `make build` builds, where cargo puts it.
BUILT = $(or $(CARGO_TARGET_DIR),target)/release/demarche

# Where models/setup.py keeps what it fetches, and where the last build found libtorch: `sudo make install` has another HOME.
CACHE_DIR = $(or $(DEMARCHE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/demarche)
LIBTORCH_DIR = $(shell sed -n 's/^LIBTORCH = "\(.*\)"$$/\1/p' .cargo/config.toml)
MODEL_DIR = $(or $(DEMARCHE_MODEL__BASE),$(wildcard $(dir $(LIBTORCH_DIR))all-MiniLM-L6-v2),$(CACHE_DIR)/all-MiniLM-L6-v2)

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
	"$(BUILT)" demo

.PHONY: test
test: setup ## Run every test
	$(CARGO) test --no-fail-fast

.PHONY: check
check: lint doc-check test small ## All that CI runs

# Tests and benches say what must hold: a failed unwrap there is a failed test.
TESTS_MAY = -A clippy::unwrap_used -A clippy::expect_used -A clippy::panic -A clippy::print_stderr

.PHONY: lint
lint: setup ## Formatting and clippy, warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings
	$(CARGO) clippy --all-targets -- -D warnings $(TESTS_MAY)

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

# Under PREFIX: the program, its libraries, the base model, units, man page, completions.
UNITS = $(notdir $(wildcard config/systemd/*))
COMPLETIONS = share/bash-completion/completions/demarche share/zsh/site-functions/_demarche share/fish/vendor_completions.d/demarche.fish

# The program where it was built: that of a package looks for libtorch where the package puts it.
RUN = LD_LIBRARY_PATH="$(LIBTORCH_DIR)/lib" "$(BUILT)"

.PHONY: install
install: ## Install what `make build` built into PREFIX (default /usr/local); DESTDIR is honoured
	@test -x "$(BUILT)" || { echo "install: nothing is built: run make build" >&2; exit 1; }
	install -d $(TO)/bin $(TO)/lib/demarche $(TO)/lib/systemd/system $(TO)/share/demarche/all-MiniLM-L6-v2 \
	    $(TO)/share/man/man1 $(dir $(addprefix $(TO)/,$(COMPLETIONS)))
	install -m 755 "$(BUILT)" $(TO)/bin/
	install -m 644 "$(MODEL_DIR)"/*.* $(TO)/share/demarche/all-MiniLM-L6-v2/
	for unit in $(UNITS); do \
	    sed 's|/usr/local|$(PREFIX)|g' config/systemd/$$unit > $(TO)/lib/systemd/system/$$unit || exit 1; done
	if [ -f "$(LIBTORCH_DIR)/.complete" ]; then cp -P "$(LIBTORCH_DIR)"/lib/*.so* $(TO)/lib/demarche/; \
	else echo "libtorch is your own: it stays where it is"; fi
	$(RUN) man > $(TO)/share/man/man1/demarche.1
	$(RUN) completions bash > $(TO)/$(word 1,$(COMPLETIONS))
	$(RUN) completions zsh > $(TO)/$(word 2,$(COMPLETIONS))
	$(RUN) completions fish > $(TO)/$(word 3,$(COMPLETIONS))

.PHONY: uninstall
uninstall: ## Remove what `make install` put into PREFIX
	rm -f $(TO)/bin/demarche $(TO)/share/man/man1/demarche.1 $(addprefix $(TO)/,$(COMPLETIONS)) \
	    $(addprefix $(TO)/lib/systemd/system/,$(UNITS))
	rm -rf $(TO)/lib/demarche $(TO)/share/demarche

# The version that is known to work with what Cargo.toml says of the package.
CARGO_DEB_VERSION = 3.8.0
CARGO_DEB = $(or $(shell command -v cargo-deb),$(CURDIR)/target/tools/bin/cargo-deb)
# More for cargo-deb: `make deb DEB_FLAGS=--fast` packs in seconds, into a larger file.
DEB_FLAGS =

# In a package the program looks for its libraries beside itself alone.
.PHONY: deb
deb: setup ## Build a Debian package into target/debian: program, libtorch, base model, unit, configuration
	@test -x "$(CARGO_DEB)" || $(CARGO) install cargo-deb --locked --version $(CARGO_DEB_VERSION) --root target/tools
	DEMARCHE_PACKAGE=1 $(CARGO) build --release
	$(MAKE) --no-print-directory deb-files
	"$(CARGO_DEB)" --no-build --no-strip $(DEB_FLAGS)

# What the package holds, as `make install` lays it out.
.PHONY: deb-files
deb-files:
	@test -f "$(LIBTORCH_DIR)/.complete" || { echo "deb: the package needs the libtorch that make setup fetches; unset LIBTORCH" >&2; exit 1; }
	rm -rf target/deb
	$(MAKE) --no-print-directory install DESTDIR=$(CURDIR)/target/deb PREFIX=/usr
	gzip -9n target/deb/usr/share/man/man1/demarche.1

.PHONY: deb-check
deb-check: ## Install that package in a clean Debian root and run it there (root, debootstrap)
	.ci/deb-check

.PHONY: clean
clean: ## Remove what was built here (the cache stays)
	$(CARGO) clean

.PHONY: clean-cache
clean-cache: ## Remove libtorch and the base model from the cache
	cd "$(CACHE_DIR)" && rm -rf libtorch-2.4.1 all-MiniLM-L6-v2 .downloads .lock
