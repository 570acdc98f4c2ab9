#!/bin/sh
# Hears Chromium, rungs and other clients on one loopback recorder, and writes what differs to benches/wire/RESULTS.md.
# Python's clients go into a folder that is thrown away. Needs Chromium, cargo, python3 and curl.
set -eu
cd "$(dirname "$0")"
: "${CARGO:=cargo}" "${OUT:=RESULTS.md}"
# The folder `wire` and `wire-wreq` are built in, one for each: their dependencies do not go together.
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
    echo "(on Linux where it can be chosen), heard by one loopback recorder in one run: a first navigation, a second request, and a third"
    echo "after the connection was ended. \`=\` is what the machine's own browser said in the same run; random parts (keys, GREASE values,"
    echo "order of extensions) are compared as random. Header values and HPACK are compared for the headers that both send."
    echo
    echo "What it says is how near a client is to the browser that is installed today: one that imitates an older Chrome, or Google Chrome"
    echo "where Chromium is installed, differs in version and brands without contradicting itself."
    echo
    cat "$scratch/table.md"
} >"$scratch/results.md"
mv "$scratch/results.md" "$OUT"
cat "$OUT"
