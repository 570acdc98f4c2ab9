#!/usr/bin/env bash
# Runs all tests, every test binary even when an earlier one fails, and repeats the failures at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

# Many tests wait for a server or a browser most of the time.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(nproc) + 1))}"

output=$(mktemp)
trap 'rm -f "$output"' EXIT

# What each failed test printed, shortened: CI keeps only the first and the last lines of its log.
repeat_failures() {
    echo "failed tests:"
    awk '
        /^---- .* stdout ----$/ { inside = 1; lines = 0 }
        /^failures:$/ { inside = 0 }
        inside && lines++ < 60 { print "    " substr($0, 1, 400) }
    ' "$output"
    sed -n 's/^test \(.*\) \.\.\. FAILED$/    \1/p' "$output" | sort -u
}

status=0
"${CARGO:-cargo}" test --locked --features otel --no-fail-fast "$@" 2>&1 | tee "$output" || status=$?
# The cases of other projects, with the features that are built already.
if [ "$#" -eq 0 ]; then
    CARGO_FLAGS="--locked --features otel" tests/suites/run.sh || {
        status=1
        echo "failed: make suites"
    }
fi
if [ "$status" -ne 0 ]; then
    repeat_failures
fi
exit "$status"
