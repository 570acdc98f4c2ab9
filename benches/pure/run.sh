#!/bin/sh
# Times the pure parts (processor time of one thread) and writes benches/pure/RESULTS.md from what criterion measured. An
# optimised build, in the folder that benches/load builds in too. PART=cookies times one part and writes no table; OUT names
# another file. Needs cargo and python3.
set -eu
cd "$(dirname "$0")"
: "${CARGO:=cargo}" "${OUT:=RESULTS.md}" "${PART:=}"
build=${CARGO_TARGET_DIR:-$PWD/../load/target}
# Nothing of an earlier run is read, so nothing of it is compared with either.
CRITERION_HOME=$(mktemp -d)
export CRITERION_HOME
trap 'rm -rf "$CRITERION_HOME"' EXIT INT TERM

# Half a second to warm up and two to measure: some three minutes in all.
$CARGO bench --locked --target-dir "$build/load" -- --noplot --warm-up-time 0.5 --measurement-time 2 ${PART:+"^$PART/"}
if [ -z "$PART" ]; then
    python3 results.py "$CRITERION_HOME" "$OUT"
fi
