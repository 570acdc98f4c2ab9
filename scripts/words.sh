#!/bin/sh
# Fails when a source or a document uses a word that only this project would understand (CONTRIBUTING.md, "Prose").
# Takes paths to search; Default: all tracked sources and documents.
set -eu
cd "$(dirname "$0")/.."

words='errand|persona|berth|crew|farewell|manners|wardrobe|notebook|underway|wears?|worn|lends?|lent|be had|told|nobody|somebody'

[ $# -gt 0 ] || set -- '*.rs' '*.md' '*.toml' '*.py' '*.sh' Makefile
# Excluded: texts that quote the words, and recorded data.
found=$(git grep -niwE "$words" -- "$@" ':!CHANGELOG.md' ':!CONTRIBUTING.md' ':!scripts/words.sh' ':!fixtures' || true)
[ -n "$found" ] || exit 0
echo "$found"
echo "words: $(echo "$found" | wc -l) lines use words that CONTRIBUTING.md replaces" >&2
exit 1
