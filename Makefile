# The two commands a newcomer needs are `make demo` and `make test`. Everything builds with the one dev profile, so
# that BoringSSL, by far the longest part, is compiled once and shared by all of them.

CARGO ?= cargo
# rustup puts cargo here, and a fresh shell may not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help deps demo test lint bench bench-browser bench-load bench-proxies bench-pure bench-wire corpus fuzz doc install

help: ## Show what there is.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install what is missing to build and test (Debian, Ubuntu); elsewhere say what to install.
	@scripts/deps.sh

demo: deps ## Fetch four sites of a loopback lab, one on each rung, and the last one twice.
	$(CARGO) build --locked --bin rungs --example demo
	@$(CARGO) run --quiet --locked --example demo

test: deps ## Run every test: unit, integration (nginx, squid, dante, Chromium on loopback), examples, doctests.
	$(CARGO) test --locked --features otel

lint: deps ## Check format, lints, docs, and licences where cargo-deny is installed.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib -- -D warnings
	$(CARGO) clippy --locked --features otel --bin rungs -- -D warnings
	$(CARGO) clippy --locked --manifest-path benches/pure/Cargo.toml --all-targets -- -D warnings
	$(CARGO) clippy --locked --manifest-path benches/load/Cargo.toml --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo "lint: cargo-deny is not installed; licences and advisories not checked (cargo install cargo-deny)"; fi

bench: bench-pure bench-load ## Measure how fast it is: bench-pure, then bench-load (optimised builds: takes its time).

bench-pure: deps ## Time the parts without I/O: verdicts, policy, dialects, headers, cookies (PART=cookies: one of them).
	@CARGO=$(CARGO) benches/pure/run.sh

bench-load: deps ## Measure rungs under load beside wreq, reqwest, curl_cffi, aiohttp, httpx and Scrapy (fetches them; optimised builds).
	@CARGO=$(CARGO) benches/load/run.sh

bench-proxies: deps ## Fetch 2,000 pages over four proxies that fail in their own ways, and print how each fared.
	@$(CARGO) run --quiet --locked --example exits

corpus: deps ## Judge every saved answer, print precision and recall beside others' rules, and put them into the README.
	@$(CARGO) run --quiet --locked --example corpus

bench-wire: deps ## Hear wreq, curl_cffi and others beside Chromium and rungs (fetches them, builds a second BoringSSL).
	@CARGO=$(CARGO) benches/wire/run.sh

bench-browser: deps ## Compare the browser tier with playwright, patchright and stock chromiumoxide (fetches them from PyPI).
	@CARGO=$(CARGO) benches/browser/run.sh

fuzz: deps ## Fuzz the readers of hellos, HTTP/2, profiles, block rules, saved answers and robots.txt for two minutes each (needs cargo-fuzz).
	@CARGO=$(CARGO) fuzz/run.sh

doc: deps ## Build the API documentation.
	$(CARGO) doc --locked --no-deps

install: deps ## Install the program into cargo's bin folder (optimised build).
	$(CARGO) install --locked --path .
