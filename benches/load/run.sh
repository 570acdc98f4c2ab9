#!/bin/sh
# Measures rungs and other clients under load and writes benches/load/RESULTS.md. Builds are optimised, in folders of their
# own. The Python clients are installed into a temporary folder. Needs nginx, openssl, cargo and python3. If h2load
# (nghttp2-client) is installed, it is shown as the upper limit. QUICK=1 sends fewer requests in one round.
set -eu
cd "$(dirname "$0")"
: "${CARGO:=cargo}" "${OUT:=RESULTS.md}"
build=${CARGO_TARGET_DIR:-$PWD/target}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
PATH=$PATH:/usr/sbin
# Ten thousand connections need that many file descriptors on each side.
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
