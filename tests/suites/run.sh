#!/bin/sh
# Runs robots.txt cases of other projects: protego's, whose source package PyPI has, and those of google/robotstxt if
# ROBOTSTXT names a checkout. A download that fails is a failure.
set -eu
cd "$(dirname "$0")/../.."
: "${CARGO:=cargo}" "${CARGO_FLAGS:=}"

# shellcheck disable=SC2086 # several flags
$CARGO build -q $CARGO_FLAGS --example robots-cases
RUNGS_ROBOTS_CASES=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/debug/examples/robots-cases
export RUNGS_ROBOTS_CASES PIP_DISABLE_PIP_VERSION_CHECK=1

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pytest
"$folder/venv/bin/pip" download -q --no-deps --no-binary protego -d "$folder" protego
tar -xzf "$folder"/protego-*.tar.gz -C "$folder"
rm "$folder"/protego-*.tar.gz
"$folder/venv/bin/python" tests/suites/protego.py "$folder"/protego-*
if [ -n "${ROBOTSTXT:-}" ]; then
    tests/suites/google_robotstxt.py "$ROBOTSTXT"
fi
