//! Converts arguments to the library's settings, group by group.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rungs::batch::CrawlOptions;
use rungs::detect::{Expectation, Rules};
use rungs::extract::Extractor;
use rungs::fingerprint::Profile;
use rungs::target::{HumanDuration, Rate, Targets, environment};
use rungs::{Coordinates, Error, ErrorKind, Fetcher, FetcherBuilder, LocationOverride, Tier};

use super::args::{
    CommonArgs, CrawlArgs, EmulationArgs, EscalationArgs, ExtractArgs, PolitenessArgs, RequestArgs,
    VerdictArgs,
};
use super::connect::{apply_connect, apply_trust};
use super::exit::Failure;
use super::proxy_pool;
use super::values::{flag_error, parse_seconds, parse_size, parse_time};

/// Builds a fetcher with all settings of the command line.
pub(crate) async fn fetcher_builder(args: &CommonArgs, urls: &[String]) -> Result<FetcherBuilder, Failure> {
    let mut targets = targets(args, urls)?;
    let uses_pool = proxy_pool::is_requested(args);
    if uses_pool && args.network.connect.proxy_digest {
        let message = "--proxy-digest works with one -x/--proxy, not with a pool of proxies";
        return Err(Failure::Usage(message.to_owned()));
    }
    if uses_pool {
        targets = proxy_pool::apply(targets, args, urls).await?;
    }
    let builder = Fetcher::builder().target_layers(targets);
    let builder = if uses_pool {
        apply_trust(builder, &args.network.connect)?
    } else {
        apply_connect(builder, &args.network.connect)?
    };
    let builder = apply_escalation(builder, &args.escalation)?.rules(rules(&args.verdict)?);
    // --cookie-jar writes the jar of the default profile, so the profile must not change.
    Ok(apply_emulation(builder, &args.emulation)?.adapt_profile(args.request.cookie_jar.is_none()))
}

/// Returns the session that `--session` names, or the default session.
pub(crate) fn session(args: &CommonArgs, fetcher: &Fetcher) -> Fetcher {
    match &args.escalation.session {
        Some(name) => fetcher.session(name),
        None => fetcher.clone(),
    }
}

/// Builds the extractor of `--select`, `--text` and `--links`.
pub(crate) fn extract(args: &ExtractArgs) -> Result<Extractor, Failure> {
    let mut extract = Extractor::new().text(args.text).links(args.links);
    for text in &args.select {
        extract =
            extract.field(text).map_err(|error| Failure::Usage(format!("--select {}", error.chain())))?;
    }
    Ok(extract)
}

/// Builds the crawl options. Returns `None` without `--follow`.
pub(crate) fn crawl_options(args: &CrawlArgs) -> Result<Option<CrawlOptions>, Failure> {
    if args.follow.is_empty() {
        return Ok(None);
    }
    let mut options = CrawlOptions::new()
        .external(args.follow_external)
        .sort_query(args.sort_query)
        .trust_canonical(args.trust_canonical);
    for text in &args.follow {
        options =
            options.links(text).map_err(|error| Failure::Usage(format!("--follow {}", error.chain())))?;
    }
    for host in &args.allow {
        options =
            options.allow(host).map_err(|error| Failure::Usage(format!("--allow {}", error.chain())))?;
    }
    if let Some(depth) = args.depth {
        options = options.depth(depth);
    }
    if let Some(pages) = args.max_pages {
        options = options.max_pages(pages);
    }
    if let Some(limit) = args.trap_limit {
        options = options.trap_limit(limit);
    }
    Ok(Some(options))
}

/// Loads the user's targets and merges the settings of flags over them.
fn targets(args: &CommonArgs, urls: &[String]) -> Result<Targets, Failure> {
    let mut targets = Targets::from_user_config()?;
    if let Some(path) = &args.escalation.target {
        targets = targets.with_file(path)?;
        for url in urls {
            // The fetch of a wrong URL reports the error.
            let url = rungs::parse_url(url).ok();
            if url.is_some_and(|url| targets.list().last().is_some_and(|last| !last.matches().matches(&url)))
            {
                let message = format!("--target: {} does not match all URLs", path.display());
                return Err(Failure::Config(format!("{message}; check its [match] table")));
            }
        }
    }
    apply_politeness(apply_limits(targets, args)?, &args.politeness)
}

/// Merges the timeouts, sizes, retries and the budget of flags over `targets`.
fn apply_limits(mut targets: Targets, args: &CommonArgs) -> Result<Targets, Failure> {
    let (network, render) = (&args.network, &args.render);
    let timeout = |flag: &str, text: &Option<String>| {
        text.as_deref().map(|text| parse_seconds(flag, text).map(HumanDuration)).transpose()
    };
    let size =
        |flag: &str, text: &Option<String>| text.as_deref().map(|text| parse_size(flag, text)).transpose();
    if let Some(total) = timeout("-m/--max-time", &network.max_time)? {
        targets = targets.with_flag("-m/--max-time", |settings| settings.timeouts.total = Some(total))?;
    }
    if let Some(connect) = timeout("--connect-timeout", &network.connect_timeout)? {
        targets = targets.with_flag("--connect-timeout", |settings| {
            settings.timeouts.dns = Some(connect);
            settings.timeouts.connect = Some(connect);
            settings.timeouts.tls = Some(connect);
        })?;
    }
    if let Some(text) = &render.wait {
        let wait = parse_time("--wait", text)?;
        targets = targets.with_flag("--wait", |settings| settings.browser.wait = Some(wait))?;
    }
    if render.frames {
        targets = targets.with_flag("--frames", |settings| settings.browser.frames = Some(true))?;
    }
    if let Some(settle) = timeout("--settle-timeout", &render.settle_timeout)? {
        targets =
            targets.with_flag("--settle-timeout", |settings| settings.timeouts.settle = Some(settle))?;
    }
    if let Some(page) = timeout("--page-timeout", &render.page_timeout)? {
        targets = targets.with_flag("--page-timeout", |settings| settings.timeouts.browser = Some(page))?;
    }
    if let Some(limit) = size("--max-size", &network.max_size)? {
        targets = targets.with_flag("--max-size", |settings| {
            settings.limits.max_body = Some(limit);
            settings.limits.max_file = Some(limit);
        })?;
    }
    if let Some(limit) = size("--page-memory", &render.page_memory)? {
        targets =
            targets.with_flag("--page-memory", |settings| settings.browser.page_memory = Some(limit))?;
    }
    if network.no_meta_refresh {
        targets =
            targets.with_flag("--no-meta-refresh", |settings| settings.request.meta_refresh = Some(false))?;
    }
    if let Some(retries) = network.retry {
        targets = targets.with_flag("--retry", |settings| settings.retry.times = Some(retries))?;
    }
    if let Some(redirects) = network.max_redirs {
        targets =
            targets.with_flag("--max-redirs", |settings| settings.limits.max_redirects = Some(redirects))?;
    }
    if let Some(attempts) = network.max_attempts {
        targets =
            targets.with_flag("--max-attempts", |settings| settings.budget.attempts = Some(attempts))?;
    }
    if let Some(visits) = network.max_visits {
        targets = targets.with_flag("--max-visits", |settings| settings.budget.visits = Some(visits))?;
    }
    if let Some(bytes) = size("--max-bytes", &network.max_bytes)? {
        targets = targets.with_flag("--max-bytes", |settings| settings.budget.bytes = Some(bytes))?;
    }
    Ok(targets)
}

fn apply_politeness(mut targets: Targets, args: &PolitenessArgs) -> Result<Targets, Failure> {
    if let Some(policy) = args.robots {
        targets = targets.with_flag("--robots", |settings| settings.robots = Some(policy.into()))?;
    }
    if let Some(text) = &args.rate {
        let rate: Rate = text.parse().map_err(|reason| Failure::Usage(format!("--rate: {reason}")))?;
        targets = targets.with_flag("--rate", |settings| settings.pace.rate = Some(rate))?;
    }
    if let Some(limit) = args.host_concurrency {
        targets =
            targets.with_flag("--host-concurrency", |settings| settings.pace.concurrency = Some(limit))?;
    }
    Ok(targets)
}

fn apply_escalation(mut builder: FetcherBuilder, args: &EscalationArgs) -> Result<FetcherBuilder, Failure> {
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
        builder = builder.browser_profile(find_profile(name)?);
    }
    if let Some(path) = memory_path().filter(|_| !args.no_memory) {
        builder = builder.memory(path);
    }
    Ok(builder)
}

/// Returns the file of the host memory: `RUNGS_MEMORY`, else the default path. `None` without a home directory.
pub(crate) fn memory_path() -> Option<PathBuf> {
    let from_env = std::env::var_os(environment::MEMORY).filter(|path| !path.is_empty()).map(PathBuf::from);
    from_env.or_else(rungs::memory::default_path)
}

/// Returns the folder of the user's own dialects: the given one, else the default folder.
pub(crate) fn dialects_dir(given: Option<&Path>) -> Option<PathBuf> {
    given.map(Path::to_owned).or_else(rungs::target::dialect_folder)
}

/// Loads the shipped block rules and those of `--rules-dir`.
pub(crate) fn rules(args: &VerdictArgs) -> Result<Rules, Failure> {
    let Some(dir) = &args.rules_dir else { return Ok(Rules::shipped()) };
    Rules::with_dir(dir).map_err(|error| match error.kind() {
        ErrorKind::Io => Failure::Config(format!("--rules-dir: {}", error.chain())),
        _ => error.into(),
    })
}

/// Builds the expectation of `--expect-css`, `--expect-text` and `--expect-min-bytes`.
pub(crate) fn expectation(args: &VerdictArgs) -> Result<Expectation, Failure> {
    let mut expect = Expectation::default();
    if let Some(selector) = &args.expect_css {
        expect = expect.css(selector).map_err(|error| flag_error("--expect-css", &error))?;
    }
    if let Some(text) = &args.expect_text {
        expect = expect.text(text);
    }
    if let Some(text) = &args.expect_min_bytes {
        let min_bytes = parse_size("--expect-min-bytes", text)?.0;
        expect = expect.min_bytes(usize::try_from(min_bytes).unwrap_or(usize::MAX));
    }
    Ok(expect)
}

fn apply_emulation(mut builder: FetcherBuilder, args: &EmulationArgs) -> Result<FetcherBuilder, Failure> {
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
        // Validated here with some profile, so that the error names the flag.
        let profile = Profile::clone(&*Profile::named("plain")?);
        profile.with_language(tag).map_err(|error| flag_error("--lang", &error))?;
        builder = builder.language(tag);
    }
    if let Some(zone) = &args.timezone {
        let mut location = LocationOverride::default();
        location.timezone = Some(zone.clone());
        location.validate().map_err(|error| flag_error("--timezone", &error))?;
        builder = builder.timezone(zone);
    }
    if let Some(text) = &args.geolocation {
        let position: Coordinates =
            text.parse().map_err(|error: Error| flag_error("--geolocation", &error))?;
        builder = builder.geolocation(position);
    }
    Ok(builder)
}

/// Loads a profile by name, or from a file when the text looks like a path.
pub(crate) fn find_profile(name: &str) -> Result<Arc<Profile>, Failure> {
    Profile::find(name).map_err(|error| match error.kind() {
        ErrorKind::Io => Failure::Config(error.chain()),
        _ => error.into(),
    })
}

/// Returns the method: the given one, else HEAD with `-I`, POST with a body, else GET.
pub(crate) fn method(args: &RequestArgs) -> Result<http::Method, Failure> {
    match &args.method {
        Some(text) => text
            .parse()
            .map_err(|_| Failure::Usage(format!("-X/--request: `{}` is not a method", text.escape_debug()))),
        None if args.head => Ok(http::Method::HEAD),
        None if args.json.is_some() || !args.data.pieces.is_empty() => Ok(http::Method::POST),
        None => Ok(http::Method::GET),
    }
}

/// Refuses a body for `-I`.
pub(crate) fn check_head(args: &RequestArgs) -> Result<(), Failure> {
    if args.head && !args.data.pieces.is_empty() {
        return Err(Failure::Usage(
            "-I/--head cannot be used with -d/--data and the like: a HEAD request has no body; or add -G"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The value of one `-H`: a header to send, or one to remove.
pub(crate) enum HeaderLine {
    Add(String, String),
    Remove(String),
}

/// Parses `Name: value`, `Name:` (remove) and `Name;` (send empty), like curl.
pub(crate) fn parse_header(line: &str) -> Result<HeaderLine, Failure> {
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
    // The message omits the line, which may contain a secret.
    Err(Failure::Usage("-H/--header: write it as `Name: value`".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_have_the_syntax_of_curl() {
        assert!(matches!(parse_header("A: b: c").unwrap(), HeaderLine::Add(n, v) if n == "A" && v == "b: c"));
        assert!(matches!(parse_header("A:").unwrap(), HeaderLine::Remove(n) if n == "A"));
        assert!(matches!(parse_header("A;").unwrap(), HeaderLine::Add(n, v) if n == "A" && v.is_empty()));
        assert!(parse_header("secret").is_err());
    }
}
