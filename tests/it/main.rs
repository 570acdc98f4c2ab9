//! Integration tests, all against loopback. Where does my test go?
//!
//! | question | file |
//! |---|---|
//! | When does a fetch retry, wait, escalate to the next tier or stop? | `escalation/decisions.rs` |
//! | Do all tiers together get the lab's sites, with a real Chromium? | `escalation/all_tiers.rs` |
//! | Does a dropped fetch free its sockets, permits and pages? | `escalation/cancellation.rs` |
//! | Is a POST or DELETE ever sent twice? | `escalation/unsafe_methods.rs` |
//! | How are `--rate`, `Retry-After` and failing hosts (circuit breaker) respected? | `escalation/rate_limits.rs` |
//! | How is robots.txt respected? | `escalation/robots.rs` |
//! | Is the memory file shared between processes, exported, imported, and whole after a crash? | `memory/store.rs` |
//! | What does a run learn besides the tier: profile, page size, failing hosts? | `memory/learning.rs` |
//! | What does one browser visit earn, how is it shared, and when does it expire? | `memory/clearance.rs` |
//! | Does the next run of the program use a stored clearance? | `memory/clearance_across_runs.rs` |
//! | Does every kind of proxy carry every tier? How are flags and environment variables read? | `proxy/kinds.rs` |
//! | Does an HTTP proxy with a password work (squid)? | `proxy/http_proxy.rs` |
//! | How does a pool rotate proxies, keep proxy sessions and track health (library)? | `proxy/pool.rs` |
//! | How are pools and accounts given on the command line and in targets? | `proxy/pool_cli.rs` |
//! | Do two identities in one browser keep their own proxies? | `proxy/browser_identities.rs` |
//! | What does `rungs proxy check` report? | `proxy/check.rs` |
//! | How are dialects of proxy providers listed, rendered and checked? | `proxy/dialects.rs` |
//! | What does the program write of a page in the browser: forms of the body, screenshots, files? | `browser/page_output.rs` |
//! | Do detection suites find out the browser tier? | `browser/detection_suites.rs` |
//! | How does a browser with a window get its display? | `browser/window.rs` |
//! | Is the browser tier on the wire what the profile says? Does it leak the real address? | `browser/wire.rs` |
//! | Is the browser's folder private, whatever is in TMPDIR and whatever the umask? | `browser/folders.rs` |
//! | What of our environment do the browser's processes get? | `browser/processes.rs` |
//! | Which page ends when one uses too much memory? | `browser/page_memory.rs` |
//! | Is a page lost when renderers or browsers are killed? | `browser/crashes.rs` |
//! | Is each URL in the output once, after kills, a full disk, a second run? | `batch/run.rs` |
//! | Does a WARC archive have every response, with the heads of the wire? | `batch/archive.rs` |
//! | Which links does `--follow` fetch, and what is read out of pages? | `batch/crawl.rs` |
//! | Does a crawl of 200 traps lose a page, or request one too many? | `batch/traps.rs` |
//! | Which URLs does a crawl or a sitemap request, in which order, with which credentials? | `batch/links.rs` |
//! | What does the program print, write and exit with? | `cli/output.rs` |
//! | What happens with an output that is a device, a pipe, a link or an open file? | `cli/output_files.rs` |
//! | What do `-b FILE` and `-c FILE` keep of what a site changed? | `cli/cookie_files.rs` |
//! | What exactly does the program print (snapshots of help, errors, JSON)? | `cli/snapshots.rs` |
//! | Which hosts does `--hsts` request over https, and what does its file have? | `cli/hsts.rs` |
//! | How does `-u USER` ask for the password? | `cli/password_prompt.rs` |
//! | Which exit code, kind and message has each kind of bad input? | `cli/bad_input.rs` |
//! | How are target files written and tried? | `cli/targets.rs` |
//! | What do `rungs profile lint`, `diff`, `show` and `list` print? | `cli/profile.rs` |
//! | What does `rungs profile capture` say of something that is not a browser? | `cli/profile_capture.rs` |
//! | Do `profile capture` and `profile verify` agree with the installed Chromium? | `cli/profile_verify.rs` |
//! | What does `rungs lab` tell a client about itself? | `cli/lab.rs` |
//! | What does `rungs diagnose` find out about a site? | `cli/diagnose.rs` |
//! | What do the report, SIGUSR1 and `--metrics` show of a run? | `cli/observability.rs` |
//! | Which spans does a fetch have (program and library)? | `cli/spans.rs` |
//! | Are spans exported over OTLP? | `cli/otel.rs` |
//! | HTTP against a real nginx: versions, redirects, codings, charsets, cookies, statuses, connections | `wire/http.rs` |
//! | Which redirects are followed: raw bytes, no URL, several URLs, to the same URL, too many? | `wire/redirects.rs` |
//! | Which names are asked of DNS, and what is a trailing dot? | `wire/names.rs` |
//! | Are intermediate certificates fetched that a server does not send? | `wire/issuers.rs` |
//! | What happens with a wrong certificate, and with `--insecure`? | `wire/certificates.rs` |
//! | Do all tiers accept and refuse the same certificates? | `wire/certificate_rules.rs` |
//! | Does the impersonate tier send what the installed Chromium sends? | `wire/fingerprint.rs` |
//! | Do the HTTP tiers keep and send the cookies that the installed Chromium does? | `wire/cookies.rs` |
//! | Do the HTTP tiers read odd heads, chunks and codings as the installed Chromium does? | `wire/as_chromium_http.rs` |
//! | Are text, links and refreshes of a page those of the installed Chromium? | `wire/as_chromium_pages.rs` |
//! | What happens with an HTTP/2 server that misbehaves, frame by frame? | `wire/hostile_http2.rs` |
//! | Does a response that the HTTP tiers cannot read lead to the browser? | `escalation/unreadable.rs` |
//! | When is a request sent again, and which connection is not reused? | `wire/resent_requests.rs` |
//! | Does every timeout and size limit of an attempt hold? | `wire/limits.rs` |
//! | Fault x tier x outcome: how does a fetch end when network or server misbehave? | `wire/faults.rs` |
//! | What happens when file descriptors are few? | `wire/file_descriptors.rs` |
//! | Do headers and cookies of the caller stay with the origin they were given for? | `security/credentials.rs` |
//! | Do secrets stay out of logs, errors, JSON and `Debug`? | `security/secrets.rs` |
//! | Does any text of a site, a proxy or a file reach a terminal unescaped? | `security/terminal.rs` |
//! | Can a public site lead to private addresses? | `security/private_addresses.rs` |
//! | Can it by links, sitemaps, or names whose addresses change? | `security/named_urls.rs` |
//! | Header injection, response splitting, cookies for suffixes, decompression bombs, `file:` redirects | `security/injection_and_bombs.rs` |
//! | `rungs detect`, custom rules, and `--expect-…` | `detect/rules.rs` |
//! | Does every saved answer in `fixtures/` get the right verdict? | `detect/corpus.rs` |
//! | Does each module import only from lower floors? | `meta/floors.rs` |
//! | Does no file import itself by way of others? | `meta/circles.rs` |
//! | Are README and docs short, linked and generated? | `meta/docs.rs` |
//! | Does a text use a private word? | `meta/words.rs` |
//! | Are all output files opened, and all texts printed, in one place? | `meta/outputs.rs`, `meta/terminal.rs` |
//!
//! Rate limits and robots.txt are in `escalation`, since they too decide when a fetch may go on. Servers (nginx, squid,
//! dante, microsocks, and those that misbehave) and the readers of outputs are in `support`.

mod batch;
#[cfg(feature = "browser")]
mod browser;
mod cli;
mod detect;
mod escalation;
mod memory;
mod meta;
mod proxy;
mod security;
mod support;
mod wire;
