#!/bin/sh
# Runs the encoding tests of html5lib-tests. Usage: tests/suites/html5lib.sh CHECKOUT
set -eu
[ $# -eq 1 ] || { echo "usage: $0 CHECKOUT of https://github.com/html5lib/html5lib-tests" >&2; exit 2; }
HTML5LIB_TESTS=$(cd "$1" && pwd)
export HTML5LIB_TESTS
cd "$(dirname "$0")/../.."
exec cargo test --lib charset::tests::html5lib -- --ignored --nocapture
