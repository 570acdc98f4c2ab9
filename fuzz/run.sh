#!/bin/sh
# Runs every fuzz target for $SECONDS_EACH seconds (Default: 120), with seeds made from fixtures/. Results stay in
# fuzz/corpus and fuzz/artifacts. Works on stable Rust without a sanitizer, because the fuzzed code has no `unsafe`.
# Overflow checks and assertions are on.
set -eu
cd "$(dirname "$0")"
: "${CARGO:=cargo}" "${SECONDS_EACH:=120}"

$CARGO fuzz --version >/dev/null 2>&1 || { echo "fuzz: cargo-fuzz is not installed (cargo install cargo-fuzz)" >&2; exit 1; }
mkdir -p corpus/hello corpus/h2 corpus/profile corpus/rules corpus/saved corpus/robots corpus/retry_after corpus/set_cookie corpus/dialect corpus/address corpus/html \
    corpus/charset corpus/cookie_date corpus/cookie_file corpus/head corpus/refresh
hex() { grep -v '^#' "$1" | python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))'; }
for file in ../fixtures/hellos/*.hex; do hex "$file" >"corpus/hello/$(basename "$file" .hex)"; done
for file in seeds/h2/*.hex; do hex "$file" >"corpus/h2/$(basename "$file" .hex)"; done
cp ../profiles/browsers/*.toml ../fixtures/profiles/*.toml corpus/profile/
cp ../profiles/blocks/*.toml corpus/rules/
cp ../profiles/proxies/*.toml ../fixtures/dialects/*.toml corpus/dialect/
for file in ../fixtures/pages/*.http ../fixtures/blocks/*/*.http; do
    cp "$file" "corpus/saved/$(basename "$(dirname "$file")")-$(basename "$file" .http)"
done

printf '/private/a.pdf?x=1\n\357\273\277User-agent: rungs\r\nDisallow: /*.pdf$\nAllow: /a%%2Fb # why\nCrawl-delay: 0.5' >corpus/robots/seed
printf '\0\0\0\0Sun, 06 Nov 1994 08:50:37 GMT' >corpus/retry_after/date
printf '\0\0\0\000120' >corpus/retry_after/seconds
printf '__Host-a="1"; Path=/; Secure; SameSite=None; Partitioned\nb=2; Domain=.example.co.uk; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Max-Age=60\nc=3; Domain=co.uk; HttpOnly\n=__Http-d; Secure\ne=5; Domain=kawasaki.jp\n__Host-Http-f=6; Domain=city.kawasaki.jp; Domain=github.io; Secure; HttpOnly' >corpus/set_cookie/seed
printf '\0\0\0\0\0\0\0\0\0\0\377\377\251\376\251\376' >corpus/address/mapped
printf '\040\001\0\0\135\270\330\042\0\0\0\0\365\377\377\376' >corpus/address/teredo

printf '<!doctype html><title>a</title><a\001 href=/x>b</a><svg><style><i\001></svg><script>i<a\001</script><table><p>c' >corpus/html/seed
printf 'text/html; charset=iso-8859-1\n<!-- <meta charset=x> --><script>a</script><META http-equiv=content-type content="text/html; charset=\047koi8-r\047">\344' >corpus/charset/html
printf 'text/xml\n<?xml version="1.0" encoding="windows-1251"?><a>\342' >corpus/charset/xml
printf 'text/css\n@charset "euc-jp";a{}\033$B' >corpus/charset/css
printf 'Sun, 06-Nov-94 08:49:37 GMT' >corpus/cookie_date/seed
printf 'nonsense 08:49:37 6 NOVEMBER 1994 +0300' >corpus/cookie_date/odd
printf '\357\273\277# Netscape HTTP Cookie File\n.a.example\tTRUE\t/\tFALSE\t4102444800.5\tb\tc d\t\r\n#HttpOnly_b.example\tFALSE\tTRUE\t0\t__Host-x\nSet-Cookie: a=1; domain=.c.example; Path=/x; Expires=1 Jan 2100 0:0:0' >corpus/cookie_file/seed
printf '\003\r\nxHTTP/1.1  200 OK\r\nX-A : a\r\n\tb\r\nno colon\nTransfer-Encoding: chunked\r\nContent-Length: +4\r\n\r\n4;x\npage\r\n0\r\nT: x\r\n\r\n' >corpus/head/chunked
printf '\201HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nhttp/1.0 205 X\nLocation: /\001\nContent-Length: 4, 4\n\npage' >corpus/head/interim
printf '0.5 ; URL = "x&y"z\n<base href=/b/><meta http-equiv=refresh content="1;url=a"><noscript><meta http-equiv=refresh content=0>' >corpus/refresh/seed
for target in ${TARGETS:-hello h2 profile rules saved robots retry_after set_cookie dialect address html charset cookie_date cookie_file head \
    refresh}; do
    dictionary=
    [ -f "seeds/$target.dict" ] && dictionary="-dict=seeds/$target.dict"
    $CARGO fuzz run --sanitizer none "$target" -- -max_total_time="$SECONDS_EACH" -rss_limit_mb=1024 -timeout=10 \
        -print_final_stats=1 $dictionary
done
