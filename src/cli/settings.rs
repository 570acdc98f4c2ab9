//! From what was typed to what to do: the one crossing, cut into groups.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rungs::batch::Follow;
use rungs::detect::{Expect, Rules};
use rungs::extract::Extract;
use rungs::fingerprint::Profile;
use rungs::target::{Rate, Size, Span, Targets, environment};
use rungs::{Error, ErrorKind, Fetcher, FetcherBuilder, Place, Position, Proxy, Robots, Route, Secret, Tier};

use super::args::{Common, Crawl, Judging, Ladder, Looks, Manners, Reach, Reading, Request};
use super::exit::Failure;
use super::exits;

/// A fetcher with everything the command line says about it.
pub(crate) async fn fetcher(args: &Common, urls: &[String]) -> Result<FetcherBuilder, Failure> {
    let mut targets = targets(args, urls)?;
    let by_pool = exits::are_wanted(args);
    if by_pool {
        targets = exits::lay(targets, args, urls).await?;
    }
    let builder = Fetcher::builder().target_layers(targets);
    let builder =
        if by_pool { trust(builder, &args.network.reach)? } else { reach(builder, &args.network.reach)? };
    let builder = ladder(builder, &args.ladder)?.rules(rules(&args.judging)?);
    // The jar that is written is the default profile's.
    Ok(looks(builder, &args.looks)?.learned_profile(args.request.cookie_jar.is_none()))
}

/// Who fetches: the session that was named, or the fetcher's own.
pub(crate) fn session(args: &Common, fetcher: &Fetcher) -> Fetcher {
    match &args.ladder.session {
        Some(name) => fetcher.session(name),
        None => fetcher.clone(),
    }
}

/// What is read out of every page.
pub(crate) fn extract(args: &Reading) -> Result<Extract, Failure> {
    let mut extract = Extract::new().text(args.text).links(args.links);
    for text in &args.select {
        extract =
            extract.field(text).map_err(|error| Failure::Usage(format!("--select {}", error.chain())))?;
    }
    Ok(extract)
}

/// Which links a batch follows, if any.
pub(crate) fn follow(args: &Crawl) -> Result<Option<Follow>, Failure> {
    if args.follow.is_empty() {
        return Ok(None);
    }
    let mut follow = Follow::new().external(args.follow_external).sort_query(args.sort_query);
    for text in &args.follow {
        follow = follow.links(text).map_err(|error| Failure::Usage(format!("--follow {}", error.chain())))?;
    }
    for host in &args.allow {
        follow = follow.allow(host).map_err(|error| Failure::Usage(format!("--allow {}", error.chain())))?;
    }
    if let Some(depth) = args.depth {
        follow = follow.depth(depth);
    }
    if let Some(pages) = args.max_pages {
        follow = follow.max_pages(pages);
    }
    if let Some(limit) = args.trap_limit {
        follow = follow.trap_limit(limit);
    }
    Ok(Some(follow))
}

/// The user's targets, with what flags say laid over them.
fn targets(args: &Common, urls: &[String]) -> Result<Targets, Failure> {
    let mut targets = Targets::of_user()?;
    if let Some(path) = &args.ladder.target {
        targets = targets.with_file(path)?;
        for url in urls {
            // One that cannot be read is told of when its turn comes.
            let url = rungs::parse_url(url).ok();
            if url.is_some_and(|url| targets.list().last().is_some_and(|last| !last.matches().is_for(&url))) {
                let message = format!("--target: {} is not for each of these URLs", path.display());
                return Err(Failure::Config(format!("{message}; see its [match]")));
            }
        }
    }
    let (network, view) = (&args.network, &args.view);
    let spans: [(&str, &Option<String>, &[&str]); 4] = [
        ("-m/--max-time", &network.max_time, &["total"]),
        ("--connect-timeout", &network.connect_timeout, &["dns", "connect", "tls"]),
        ("--settle-timeout", &view.settle_timeout, &["settle"]),
        ("--page-timeout", &view.page_timeout, &["browser"]),
    ];
    for (flag, text, keys) in spans {
        let Some(text) = text else { continue };
        let span = Span(seconds(flag, text)?).to_string();
        for key in keys {
            targets = targets.with_flag(flag, &format!("timeouts.{key}"), span.as_str())?;
        }
    }
    if let Some(text) = &network.max_size {
        let limit = Size(size("--max-size", text)?).to_string();
        for key in ["limits.max_body", "limits.max_file"] {
            targets = targets.with_flag("--max-size", key, limit.as_str())?;
        }
    }
    if let Some(times) = network.retry {
        targets = targets.with_flag("--retry", "retry.times", i64::from(times))?;
    }
    if let Some(attempts) = network.max_attempts {
        targets = targets.with_flag("--max-attempts", "budget.attempts", i64::from(attempts))?;
    }
    if let Some(visits) = network.max_visits {
        targets = targets.with_flag("--max-visits", "budget.visits", i64::from(visits))?;
    }
    if let Some(text) = &network.max_bytes {
        let bytes = Size(size("--max-bytes", text)?).to_string();
        targets = targets.with_flag("--max-bytes", "budget.bytes", bytes)?;
    }
    manners(targets, &args.manners)
}

fn manners(mut targets: Targets, args: &Manners) -> Result<Targets, Failure> {
    if let Some(name) = args.robots {
        let name = match Robots::from(name) {
            Robots::Obey => "obey",
            Robots::Ignore => "ignore",
        };
        targets = targets.with_flag("--robots", "robots", name)?;
    }
    if let Some(text) = &args.rate {
        let rate: Rate = text.parse().map_err(|wrong| Failure::Usage(format!("--rate: {wrong}")))?;
        targets = targets.with_flag("--rate", "pace.rate", rate.to_string())?;
    }
    if let Some(concurrency) = args.host_concurrency {
        targets = targets.with_flag("--host-concurrency", "pace.concurrency", i64::from(concurrency))?;
    }
    Ok(targets)
}

/// A builder that gets there as the command line says.
pub(crate) fn reach(mut builder: FetcherBuilder, args: &Reach) -> Result<FetcherBuilder, Failure> {
    let route = route(args)?;
    if !args.proxy.is_empty() || !route.is_direct() {
        builder = builder.route(route);
    }
    trust(builder, args)
}

/// A builder that trusts, and knows names, as the command line says.
pub(crate) fn trust(mut builder: FetcherBuilder, args: &Reach) -> Result<FetcherBuilder, Failure> {
    builder = builder.insecure(args.insecure);
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
fn route(args: &Reach) -> Result<Route, Failure> {
    let route = match args.proxy.as_slice() {
        [] => Route::from_env()?,
        [text] if text.is_empty() => Route::default(),
        [text] => {
            let proxy: Proxy = text.parse().map_err(|error: Error| wrong("-x/--proxy", &error))?;
            Route::through(proxy)
        }
        _ => return Err(Failure::Usage("-x/--proxy: one proxy at a time here".to_owned())),
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

/// The folder of the user's own dialects: the one that was named, or the one there is.
pub(crate) fn dialects_dir(named: Option<&Path>) -> Option<PathBuf> {
    named.map(Path::to_owned).or_else(rungs::target::dialect_folder)
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

fn looks(mut builder: FetcherBuilder, args: &Looks) -> Result<FetcherBuilder, Failure> {
    #[cfg(feature = "browser")]
    {
        builder = builder.headful(args.headful);
        if let Some(pages) = args.browser_pages {
            builder = builder.browser_pages(pages.into());
        }
        if let Some(processes) = args.browser_processes {
            builder = builder.browser_processes(processes.into());
        }
    }
    if let Some(tag) = &args.lang {
        // Tried on any profile, so that what is wrong is told of the flag.
        let any = Profile::clone(&*Profile::named("plain")?);
        any.speaking(tag).map_err(|error| wrong("--lang", &error))?;
        builder = builder.language(tag);
    }
    if let Some(zone) = &args.timezone {
        let mut place = Place::default();
        place.timezone = Some(zone.clone());
        place.check().map_err(|error| wrong("--timezone", &error))?;
        builder = builder.timezone(zone);
    }
    if let Some(text) = &args.geolocation {
        let position: Position = text.parse().map_err(|error: Error| wrong("--geolocation", &error))?;
        builder = builder.geolocation(position);
    }
    Ok(builder)
}

/// A profile by name, or by file when it looks like one.
pub(crate) fn profile(name: &str) -> Result<Arc<Profile>, Failure> {
    Profile::find(name).map_err(|error| match error.kind() {
        ErrorKind::Io => Failure::Config(error.chain()),
        _ => error.into(),
    })
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

pub(crate) fn resolve(text: &str) -> Result<(String, u16, IpAddr), Failure> {
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

pub(crate) fn seconds(flag: &str, text: &str) -> Result<Duration, Failure> {
    let value = text.parse::<f64>().ok().filter(|value| *value > 0.0);
    value.and_then(|value| Duration::try_from_secs_f64(value).ok()).ok_or_else(|| {
        Failure::Usage(format!("{flag}: `{}` is not a number of seconds above 0", text.escape_debug()))
    })
}

fn size(flag: &str, text: &str) -> Result<u64, Failure> {
    text.parse::<Size>().map(|size| size.0).map_err(|what| Failure::Usage(format!("{flag}: {what}")))
}

pub(crate) fn wrong(flag: &str, error: &Error) -> Failure {
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
