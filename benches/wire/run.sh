#!/bin/sh
# Records Chromium, rungs and other clients with one loopback recorder, and writes the differences to
# benches/wire/RESULTS.md. The Python clients are installed into a temporary folder. Needs Chromium, cargo, python3, curl.
set -eu
cd "$(dirname "$0")"
: "${CARGO:=cargo}" "${OUT:=RESULTS.md}"
# `wire` and `wire-wreq` are built in separate folders, because their dependencies conflict.
build=${CARGO_TARGET_DIR:-$PWD/target}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

$CARGO build --manifest-path Cargo.toml --target-dir "$build/wire"
$CARGO build --locked --manifest-path wreq/Cargo.toml --target-dir "$build/wreq"
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check curl_cffi wreq 'httpx[http2]' requests

python="$scratch/venv/bin/python client.py"
"$build/wire/debug/wire" "$build/wreq/debug/wire-wreq" "$python curl_cffi" "$python python-wreq" \
    ./curl.sh "$python httpx" "$python requests" >"$scratch/table.md"
{
    echo "# The same recorder, other clients"
    echo
    echo "$(date -u +%Y-%m-%d), $(uname -sm), written by \`make bench-wire\`: the newest release of each client with its newest Chrome"
    echo "(on Linux if it can be chosen), recorded by one loopback recorder in one run: a first navigation, a second request, and a third"
    echo "after the connection was closed. \`=\` means equal to the installed browser in the same run. Random parts (keys, GREASE values,"
    echo "order of extensions) are compared as random. Header values and HPACK are compared for the headers that both send."
    echo
    echo "The table shows how close a client is to the browser that is installed today. A client that imitates an older Chrome, or Google"
    echo "Chrome while Chromium is installed, differs in version and brands without contradicting itself."
    echo
    cat "$scratch/table.md"
} >"$scratch/results.md"
mv "$scratch/results.md" "$OUT"
cat "$OUT"
