#!/bin/sh
# Prints name and version, then fetches URLs one after the other: curl.sh CA_FILE HOST PORT URL...
ca=$1 host=$2 port=$3
shift 3
curl --version | awk 'NR == 1 { print $1, $2 }'
# One process, so that the next URL can reuse the connection and its TLS session.
set -- $(for url in "$@"; do printf '%s -o /dev/null ' "$url"; done)
exec curl --silent --show-error --http2 --cacert "$ca" --resolve "$host:$port:127.0.0.1" "$@"
