# Commands for developers; CI runs `make test`.

.DEFAULT_GOAL := help
.PHONY: help test unit lint fmt tools demo generate bench audit

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Installed by `make tools`.
DENY := target/test-tools/bin/cargo-deny --locked

# Most integration tests wait for another process rather than compute.
TEST_THREADS ?= $(shell expr 2 \* $$(nproc))

test: tools ## Run everything that CI runs: tools, format, lints, dependencies, all tests
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- --deny warnings
	cargo clippy --locked --no-default-features -- --deny warnings
	$(DENY) check bans licenses sources
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked

unit: ## Run the tests that need nothing but Rust
	cargo test --locked --lib

tools: ## Install what the tests need and the machine lacks
	scripts/install-test-tools

fmt: ## Format the code
	cargo fmt --all

lint: ## Lint the code
	cargo clippy --locked --all-targets -- --deny warnings

demo: ## Run a simulated gateway and the exporter on localhost:10054
	cargo run --release --locked -- demo

generate: ## Regenerate the tables in docs, config/schema.json, the dashboards and the rules
	UPDATE_GENERATED=1 cargo test --locked is_fresh

bench: ## Run the benchmarks, and print ratios to alternatives
	cargo bench --locked

audit: tools ## Check licences, sources and advisories of the dependencies (reads github.com)
	$(DENY) check
