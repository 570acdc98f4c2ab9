#!/usr/bin/env bash
# Runs all tests, every test binary even when an earlier one fails, and lists the failed tests at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

output=$(mktemp)
trap 'rm -f "$output"' EXIT
status=0
"${CARGO:-cargo}" test --locked --features otel --no-fail-fast "$@" 2>&1 | tee "$output" || status=$?
if [ "$status" -ne 0 ]; then
    echo "failed tests:"
    grep -E '^test .* \.\.\. FAILED' "$output" | sed 's/^test /    /; s/ \.\.\. FAILED$//' | sort -u || true
fi
exit "$status"
