# Every target installs what it needs first, so each works from a fresh checkout.
#   PYTHON            the interpreter .venv is made from (3.11 or newer)
#   CARGO_TARGET_DIR  where Rust builds; outside the checkout, so that a fresh clone builds warm
PYTHON ?= python3
PENSTOCK_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/penstock
CARGO_TARGET_DIR ?= $(PENSTOCK_CACHE)/target
ARGS ?=
export PYTHON PENSTOCK_CACHE CARGO_TARGET_DIR

.DEFAULT_GOAL := help
.PHONY: help build demo test bench check soak lock format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the gateway into .venv (quick when nothing changed)
	@ci/build

demo: build ## Run the main job on a PostgreSQL of its own; ARGS=--keep leaves it running
	@.venv/bin/penstock demo $(ARGS)

test: build ## Run all tests: Rust crates, then pytest; ARGS goes to pytest
	@ci/test $(ARGS)

check: build ## Formatters, linters, types, the seam's stub, licences, advisories, layers, decoders' smoke
	@ci/check

bench: build ## Measure against direct and PgBouncer; prints the table, writes JSON
	@ci/bench $(ARGS)

soak: build ## What takes too long for every change: long fuzzing, asyncpg's own tests, many kills
	@ci/soak $(ARGS)

lock: build ## Resolve the Python and Rust locks again from their manifests
	@ci/lock

format: build ## Format Rust and Python
	@cargo fmt --all && .venv/bin/ruff format -q . && .venv/bin/ruff check -q --fix .

clean: ## Remove what the build left in the checkout (caches outside it stay)
	@rm -rf .venv python/penstock/_native*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
