#!/bin/sh
# Measures rungs under load beside other clients and writes benches/load/RESULTS.md. Optimised builds, in folders of their own;
# Python's clients go into a folder that is thrown away. Needs nginx, openssl, cargo and python3; h2load (nghttp2-client) is
# shown as the limit where it is installed. QUICK=1 takes fewer requests, one round.
set -eu
cd "$(dirname "$0")"
: "${CARGO:=cargo}" "${OUT:=RESULTS.md}"
build=${CARGO_TARGET_DIR:-$PWD/target}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
PATH=$PATH:/usr/sbin
# Ten thousand connections need as many descriptors, on both sides.
ulimit -n "$(ulimit -H -n)"

$CARGO build --locked --release --target-dir "$build/load"
$CARGO build --locked --release --manifest-path peers/Cargo.toml --target-dir "$build/load-peers"
$CARGO build --locked --release --manifest-path ../../Cargo.toml --bin rungs --target-dir "$build/load"
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp curl_cffi 'httpx[http2]' scrapy
    PYTHON=$scratch/venv/bin/python
fi
"$PYTHON" run.py "$build/load/release/load" "$build/load-peers/release/load-peers" "$build/load/release/rungs" "$OUT"
