//! From what was typed to what to do: the one crossing, cut into groups.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rungs::detect::{Expect, Rules};
use rungs::fingerprint::Profile;
use rungs::target::environment;
use rungs::{Bounds, Error, ErrorKind, Fetcher, FetcherBuilder, Proxy, Route, Secret, Tier};

use super::args::{Fetch, Judging, Ladder, Network, Request, View};
use super::exit::Failure;

/// A fetcher with everything the command line says about it.
pub(crate) fn fetcher(args: &Fetch) -> Result<Fetcher, Failure> {
    let bounds = bounds(&args.network, &args.view)?;
    let builder = network(Fetcher::builder().bounds(bounds), &args.network)?;
    let builder = ladder(builder, &args.ladder)?.rules(rules(&args.judging)?);
    Ok(builder.build()?)
}

fn bounds(args: &Network, view: &View) -> Result<Bounds, Failure> {
    let mut bounds = Bounds::default();
    if let Some(text) = &args.max_time {
        bounds.fetch_total = Some(seconds("-m/--max-time", text)?);
    }
    if let Some(text) = &args.connect_timeout {
        let limit = seconds("--connect-timeout", text)?;
        (bounds.dns, bounds.connect, bounds.tls) = (limit, limit, limit);
    }
    if let Some(text) = &args.max_size {
        let limit = size("--max-size", text)?;
        (bounds.max_body, bounds.max_file) = (limit, limit);
    }
    if let Some(text) = &view.settle_timeout {
        bounds.browser_settle = seconds("--settle-timeout", text)?;
    }
    if let Some(text) = &view.page_timeout {
        bounds.browser_total = seconds("--page-timeout", text)?;
    }
    Ok(bounds)
}

fn network(mut builder: FetcherBuilder, args: &Network) -> Result<FetcherBuilder, Failure> {
    builder = builder.insecure(args.insecure).retries(args.retry);
    builder = builder.route(route(args)?);
    builder = builder.proxy_insecure(args.proxy_insecure).allow_private(args.allow_private);
    if let Some(path) = &args.proxy_cacert {
        builder = builder.proxy_ca_file(path);
    }
    if let Some(path) = &args.cacert {
        builder = builder.ca_file(path);
    }
    for text in &args.resolve {
        let (host, port, address) = resolve(text)?;
        builder = builder.resolve(host, port, address);
    }
    Ok(builder)
}

/// Which URL goes through which proxy, as curl reads the same flags and the environment.
fn route(args: &Network) -> Result<Route, Failure> {
    let route = match args.proxy.as_deref() {
        None => Route::from_env()?,
        Some("") => Route::default(),
        Some(text) => {
            let proxy: Proxy = text.parse().map_err(|error: Error| wrong("-x/--proxy", &error))?;
            Route::through(proxy)
        }
    };
    let route = match args.noproxy.clone().or_else(Route::around_from_env) {
        Some(list) => route.around(&list),
        None => route,
    };
    let Some(text) = &args.proxy_user else { return Ok(route) };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok(route.or_credentials(user, &Secret::new(password)))
}

fn ladder(mut builder: FetcherBuilder, args: &Ladder) -> Result<FetcherBuilder, Failure> {
    if let Some(tier) = args.tier {
        builder = builder.min_tier(tier.into()).max_tier(tier.into());
    }
    let (min, max) = (args.min_tier.map(Tier::from), args.max_tier.map(Tier::from));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let message = format!("--min-tier {min} is above --max-tier {max}");
        return Err(Failure::Usage(message));
    }
    if let Some(tier) = min {
        builder = builder.min_tier(tier);
    }
    if let Some(tier) = max {
        builder = builder.max_tier(tier);
    }
    if let Some(name) = &args.profile {
        builder = builder.browser_profile(profile(name)?);
    }
    if let Some(path) = memory().filter(|_| !args.no_memory) {
        builder = builder.memory(path);
    }
    Ok(builder)
}

/// The file of the host memory, as the environment says. `None` where there is no home.
pub(crate) fn memory() -> Option<PathBuf> {
    let named = std::env::var_os(environment::MEMORY).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(rungs::memory::default_path)
}

/// The shipped block rules, with those of the folder that was named.
pub(crate) fn rules(args: &Judging) -> Result<Rules, Failure> {
    let Some(dir) = &args.rules_dir else { return Ok(Rules::shipped()) };
    Rules::with_dir(dir).map_err(|error| match error.kind() {
        ErrorKind::Io => Failure::Config(format!("--rules-dir: {}", error.chain())),
        _ => error.into(),
    })
}

/// What a page must have, as far as the command line says.
pub(crate) fn expect(args: &Judging) -> Result<Expect, Failure> {
    let mut expect = Expect::default();
    if let Some(selector) = &args.expect_css {
        expect = expect.css(selector).map_err(|error| wrong("--expect-css", &error))?;
    }
    if let Some(text) = &args.expect_text {
        expect = expect.text(text);
    }
    if let Some(text) = &args.expect_min_bytes {
        let least = size("--expect-min-bytes", text)?;
        expect = expect.min_bytes(usize::try_from(least).unwrap_or(usize::MAX));
    }
    Ok(expect)
}

/// A profile by name, or by file when it looks like one.
pub(crate) fn profile(name: &str) -> Result<Arc<Profile>, Failure> {
    if is_file(name) {
        return Profile::from_file(Path::new(name)).map(Arc::new).map_err(|error| match error.kind() {
            ErrorKind::Io => Failure::Config(error.chain()),
            _ => error.into(),
        });
    }
    Ok(Profile::named(name)?)
}

/// Whether a profile's name is a file's.
pub(crate) fn is_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "toml") || name.contains('/')
}

/// The method: as typed, else HEAD with -I, POST with -d, GET.
pub(crate) fn method(args: &Request) -> Result<http::Method, Failure> {
    match &args.method {
        Some(text) => text
            .parse()
            .map_err(|_| Failure::Usage(format!("-X/--request: `{}` is not a method", text.escape_debug()))),
        None if args.head => Ok(http::Method::HEAD),
        None if args.json.is_some() || !args.data.is_empty() => Ok(http::Method::POST),
        None => Ok(http::Method::GET),
    }
}

/// One `-H`: a header to send, or one to take away.
pub(crate) enum HeaderLine {
    Add(String, String),
    Remove(String),
}

/// Reads `Name: value`, `Name:` (take away) and `Name;` (send empty), as curl does.
pub(crate) fn header(line: &str) -> Result<HeaderLine, Failure> {
    if let Some((name, value)) = line.split_once(':') {
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        if !name.is_empty() {
            return Ok(if value.is_empty() {
                HeaderLine::Remove(name)
            } else {
                HeaderLine::Add(name, value)
            });
        }
    } else if let Some(name) = line.trim_end().strip_suffix(';') {
        return Ok(HeaderLine::Add(name.trim().to_owned(), String::new()));
    }
    // The line may hold a secret: it is not repeated.
    Err(Failure::Usage("-H/--header: write it as `Name: value`".to_owned()))
}

/// The body of all `-d`, joined by `&`, or that of `--json`.
pub(crate) fn body(args: &Request) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(text) = &args.json {
        return bytes("--json", text).map(Some);
    }
    if args.data.is_empty() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for text in &args.data {
        let mut part = bytes("-d/--data", text)?;
        if text.starts_with('@') {
            // As curl: line ends of a file are not part of a form.
            part.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        }
        parts.push(part);
    }
    Ok(Some(parts.join(&b'&')))
}

/// The text itself, or for `@FILE` and `@-` what it names.
fn bytes(flag: &str, text: &str) -> Result<Vec<u8>, Failure> {
    let Some(name) = text.strip_prefix('@') else { return Ok(text.as_bytes().to_vec()) };
    let mut bytes = Vec::new();
    let read = if name == "-" {
        std::io::stdin().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(name).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|cause| Failure::Io(format!("{flag}: could not read {name}"), cause))?;
    Ok(bytes)
}

fn resolve(text: &str) -> Result<(String, u16, IpAddr), Failure> {
    let read = || {
        let (host, rest) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once("]:")?;
            (host, rest)
        } else {
            text.split_once(':')?
        };
        let (port, address) = rest.split_once(':')?;
        let address = address.trim_matches(['[', ']']).parse().ok()?;
        (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?, address))
    };
    read().ok_or_else(|| {
        let shown = text.escape_debug();
        Failure::Usage(format!(
            "--resolve: `{shown}` is not HOST:PORT:ADDR, as in site.example:443:127.0.0.1"
        ))
    })
}

fn seconds(flag: &str, text: &str) -> Result<Duration, Failure> {
    let value = text.parse::<f64>().ok().filter(|value| *value > 0.0);
    value.and_then(|value| Duration::try_from_secs_f64(value).ok()).ok_or_else(|| {
        Failure::Usage(format!("{flag}: `{}` is not a number of seconds above 0", text.escape_debug()))
    })
}

fn size(flag: &str, text: &str) -> Result<u64, Failure> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1024),
        Some((at, 'm' | 'M')) => (&text[..at], 1024 * 1024),
        Some((at, 'g' | 'G')) => (&text[..at], 1024 * 1024 * 1024),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(|| {
        Failure::Usage(format!(
            "{flag}: `{}` is not a size, as in 500000, 10k, 5M or 1G",
            text.escape_debug()
        ))
    })
}

fn wrong(flag: &str, error: &Error) -> Failure {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    Failure::Usage(format!("{flag}: {}{hint}", error.chain()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolve_takes_names_stars_and_both_families() {
        for (text, host, port, address) in [
            ("a.example:443:127.0.0.1", "a.example", 443, "127.0.0.1"),
            ("*:80:::1", "*", 80, "::1"),
            ("a.example:443:[::1]", "a.example", 443, "::1"),
        ] {
            let expected = (host.to_owned(), port, address.parse().unwrap());
            assert_eq!(resolve(text).unwrap(), expected, "{text}");
        }
        for text in ["a.example", "a.example:443", "a.example:x:127.0.0.1", ":1:127.0.0.1", "a:1:b"] {
            assert_eq!(resolve(text).unwrap_err().code(), 2, "{text}");
        }
    }

    #[test]
    fn sizes_and_seconds_have_units_and_limits() {
        assert_eq!(size("f", "10k").unwrap(), 10240);
        assert_eq!(size("f", "1G").unwrap(), 1 << 30);
        assert_eq!(seconds("f", "0.5").unwrap(), Duration::from_millis(500));
        for text in ["", "k", "-1", "1T", "99999999999G"] {
            assert!(size("f", text).is_err(), "{text}");
        }
        for text in ["0", "-1", "soon", "inf", "NaN"] {
            assert!(seconds("f", text).is_err(), "{text}");
        }
    }

    #[test]
    fn header_lines_are_read_as_curl_reads_them() {
        assert!(matches!(header("A: b: c").unwrap(), HeaderLine::Add(n, v) if n == "A" && v == "b: c"));
        assert!(matches!(header("A:").unwrap(), HeaderLine::Remove(n) if n == "A"));
        assert!(matches!(header("A;").unwrap(), HeaderLine::Add(n, v) if n == "A" && v.is_empty()));
        assert!(header("secret").is_err());
    }
}
