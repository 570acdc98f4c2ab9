#!/bin/sh
# Compares rungs' browser tier with other drivers and writes benches/browser/RESULTS.md. The Python clients are installed
# into a temporary folder. They drive the installed Chromium and download no browser. Needs Chromium, Xvfb, cargo, python3.
set -eu
cd "$(dirname "$0")"
: "${CARGO:=cargo}" "${OUT:=RESULTS.md}"
build=${CARGO_TARGET_DIR:-$PWD/../../target}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

$CARGO build --locked --bin rungs --example browser-peers
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check playwright patchright
    PYTHON=$scratch/venv/bin/python
fi
"$PYTHON" run.py "$build/debug" "$OUT"
