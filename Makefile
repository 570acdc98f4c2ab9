# Start with `make demo` and `make test`. All targets but the benches use the dev profile, so that BoringSSL, by far
# the longest part of the build, is compiled once.

CARGO ?= cargo
# rustup installs cargo here. A new shell may not have this folder in its PATH yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help deps demo test suites lint bench bench-browser bench-load bench-proxies bench-pure bench-wire corpus fuzz doc install

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install missing build and test dependencies (Debian, Ubuntu); on other systems, list them.
	@scripts/deps.sh

demo: deps ## Fetch four loopback sites: one per tier and one that blocks every tier. Then kill and resume a batch.
	$(CARGO) build --locked --bin rungs --example demo
	@$(CARGO) run --quiet --locked --example demo

test: deps ## Run all tests: unit, integration (nginx, squid, dante, Chromium on loopback), examples, doctests, suites.
	@CARGO=$(CARGO) scripts/test.sh

suites: deps ## Run robots.txt cases of other projects: protego's (from PyPI), and google/robotstxt's if ROBOTSTXT names a checkout.
	@CARGO=$(CARGO) ROBOTSTXT="$(ROBOTSTXT)" tests/suites/run.sh

lint: deps ## Check format, lints, docs and, if cargo-machete and cargo-deny are installed, dependencies.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib -- -D warnings
	$(CARGO) clippy --locked --features otel --bin rungs -- -D warnings
	$(CARGO) clippy --locked --manifest-path benches/pure/Cargo.toml --all-targets -- -D warnings
	$(CARGO) clippy --locked --manifest-path benches/load/Cargo.toml --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	@if $(CARGO) machete --version >/dev/null 2>&1; then $(CARGO) machete; \
	else echo "lint: unused dependencies were not checked: cargo-machete is not installed (cargo install cargo-machete)"; fi
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo "lint: licences and advisories were not checked: cargo-deny is not installed (cargo install cargo-deny)"; fi

bench: bench-pure bench-load ## Run bench-pure, then bench-load (optimised builds, slow).

bench-pure: deps ## Time the code without I/O: verdicts, policy, dialects, headers, cookies. PART=cookies runs one part.
	@CARGO=$(CARGO) benches/pure/run.sh

bench-load: deps ## Measure rungs, wreq, reqwest, curl_cffi, aiohttp, httpx and Scrapy under load (downloads them; optimised builds).
	@CARGO=$(CARGO) benches/load/run.sh

bench-proxies: deps ## Fetch 2,000 pages through four proxies, three of which fail or are slow, and print statistics of each.
	@$(CARGO) run --quiet --locked --example exits

corpus: deps ## Classify every recorded response, print precision and recall beside other projects' rules, and update the tables.
	@$(CARGO) run --quiet --locked --example corpus

bench-wire: deps ## Record wreq, curl_cffi and others beside Chromium and rungs (downloads them, builds a second BoringSSL).
	@CARGO=$(CARGO) benches/wire/run.sh

bench-browser: deps ## Compare the browser tier with playwright, patchright and stock chromiumoxide (downloads from PyPI).
	@CARGO=$(CARGO) benches/browser/run.sh

fuzz: deps ## Fuzz the parsers of ClientHellos, HTTP/2, profiles, block rules, responses, robots.txt, cookies, charsets: two minutes each (needs cargo-fuzz).
	@CARGO=$(CARGO) fuzz/run.sh

doc: deps ## Build the API documentation.
	$(CARGO) doc --locked --no-deps

install: deps ## Install the program into Cargo's bin folder (optimised build).
	$(CARGO) install --locked --path .
