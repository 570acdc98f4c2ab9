#!/bin/sh
# Compares rungs' browser tier with its peers and writes benches/browser/RESULTS.md. Python's clients go into a folder
# that is thrown away; they drive the installed Chromium and fetch no browser. Needs Chromium, Xvfb, cargo and python3.
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
