#!/bin/sh
# Times the code without I/O (processor time of one thread) and writes criterion's results to benches/pure/RESULTS.md. The
# optimised build shares a folder with benches/load. PART=cookies times one part and writes no table. OUT sets another
# output file. Needs cargo and python3.
set -eu
cd "$(dirname "$0")"
: "${CARGO:=cargo}" "${OUT:=RESULTS.md}" "${PART:=}"
build=${CARGO_TARGET_DIR:-$PWD/../load/target}
# An empty folder, so that criterion does not compare with an earlier run.
CRITERION_HOME=$(mktemp -d)
export CRITERION_HOME
trap 'rm -rf "$CRITERION_HOME"' EXIT INT TERM

# Half a second of warm-up and two of measurement per bench: about three minutes in total.
$CARGO bench --locked --target-dir "$build/load" -- --noplot --warm-up-time 0.5 --measurement-time 2 ${PART:+"^$PART/"}
if [ -z "$PART" ]; then
    python3 results.py "$CRITERION_HOME" "$OUT"
fi
