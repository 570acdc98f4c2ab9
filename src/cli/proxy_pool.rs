//! The proxy pool of the command line, merged over the settings of targets.

use std::time::Duration;

use rungs::target::{HumanDuration, ProxyFallback, ProxySettings, Targets};
use rungs::{Fetcher, Limits, Proxy, ProxyRules, Tier};

use super::args::{CommonArgs, ConnectArgs, ProxyPoolArgs};
use super::connect::apply_trust;
use super::exit::Failure;
use super::value_enums::ProxyFallbackArg;
use super::values::flag_error;

/// Whether the command line requests a pool, rather than a single proxy or none.
pub(crate) fn is_requested(args: &CommonArgs) -> bool {
    let pool = &args.proxy_pool;
    let has_pool_option =
        pool.proxy_mode.is_some() || pool.proxy_concurrency.is_some() || pool.proxy_fallback.is_some();
    let has_password = !pool.password.is_none();
    let has_account =
        account_settings(pool).iter().any(|(_, text, _)| text.is_some()) || pool.session_ttl.is_some();
    pool.proxies.is_some()
        || args.network.connect.proxy.len() > 1
        || has_pool_option
        || has_password
        || has_account
}

/// A setting of an account that is copied as text: the flag, its value, and the key that it sets.
type AccountSetting<'a> = (&'static str, Option<&'a String>, fn(&mut ProxySettings) -> &mut Option<String>);

fn account_settings(pool: &ProxyPoolArgs) -> [AccountSetting<'_>; 8] {
    [
        ("--dialect", pool.dialect.as_ref(), |proxy| &mut proxy.dialect),
        ("--gateway", pool.gateway.as_ref(), |proxy| &mut proxy.gateway),
        ("--country", pool.country.as_ref(), |proxy| &mut proxy.country),
        ("--state", pool.state.as_ref(), |proxy| &mut proxy.state),
        ("--city", pool.city.as_ref(), |proxy| &mut proxy.city),
        ("--zip", pool.zip.as_ref(), |proxy| &mut proxy.zip),
        ("--asn", pool.asn.as_ref(), |proxy| &mut proxy.asn),
        ("--isp", pool.isp.as_ref(), |proxy| &mut proxy.isp),
    ]
}

/// Merges the pool arguments over `targets`.
pub(crate) async fn apply(targets: Targets, args: &CommonArgs, urls: &[String]) -> Result<Targets, Failure> {
    let targets = apply_endpoints(targets, args).await?;
    let targets = apply_account(targets, args)?;
    let targets = apply_rotation(targets, args)?;
    let urls = urls.iter().filter_map(|url| rungs::parse_url(url).ok());
    let has_pool =
        |url| !targets.resolve(&url).is_ok_and(|target| matches!(target.settings().proxy.pool(), Ok(None)));
    let mut pools = urls.map(has_pool).peekable();
    if pools.peek().is_some() && !pools.any(|has_pool| has_pool) {
        let message = "no proxy is set for these options: give one with -x, --proxies or --dialect, or in a target \
             (they do not apply to the proxies of the environment)";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(targets)
}

/// Merges the addresses of the proxies.
async fn apply_endpoints(mut targets: Targets, args: &CommonArgs) -> Result<Targets, Failure> {
    let (pool, connect) = (&args.proxy_pool, &args.network.connect);
    if !connect.proxy.is_empty() {
        for text in &connect.proxy {
            text.parse::<Proxy>().map_err(|error| flag_error("-x/--proxy", &error))?;
        }
        targets =
            targets.with_flag("-x/--proxy", |settings| settings.proxy.urls = Some(connect.proxy.clone()))?;
    }
    match &pool.proxies {
        Some(url) if is_url(url) => {
            let urls = fetch_list(url, connect).await?;
            targets = targets.with_flag("--proxies", |settings| settings.proxy.urls = Some(urls))?;
        }
        Some(path) => {
            targets = targets.with_flag("--proxies", |settings| {
                settings.proxy.urls = Some(Vec::new());
                settings.proxy.pool = Some(path.clone());
            })?;
        }
        None => {}
    }
    if pool.dialect.is_some() {
        // Overrides the proxies of targets and of the environment.
        targets = targets.with_flag("--dialect", |settings| {
            settings.proxy.urls = Some(Vec::new());
            settings.proxy.pool = Some(String::new());
        })?;
    }
    Ok(targets)
}

/// Merges the account at a provider: where its exits are, user name and password.
fn apply_account(mut targets: Targets, args: &CommonArgs) -> Result<Targets, Failure> {
    let (pool, connect) = (&args.proxy_pool, &args.network.connect);
    for (flag, text, key) in account_settings(pool) {
        if let Some(text) = text {
            targets = targets.with_flag(flag, |settings| *key(&mut settings.proxy) = Some(text.clone()))?;
        }
    }
    if let Some(text) = &pool.session_ttl {
        let ttl: HumanDuration =
            text.parse().map_err(|reason| Failure::Usage(format!("--session-ttl: {reason}")))?;
        targets = targets.with_flag("--session-ttl", |settings| settings.proxy.session_ttl = Some(ttl))?;
    }
    if let Some(text) = &connect.proxy_user {
        let (user, password) = text.split_once(':').map_or((text.as_str(), None), |(u, p)| (u, Some(p)));
        targets = targets.with_flag("-U/--proxy-user", |settings| {
            settings.proxy.user = Some(user.to_owned());
            settings.proxy.password = password.map(ToOwned::to_owned);
        })?;
    }
    if let Some(password) = pool.password.read()? {
        targets = targets.with_flag("--password-env, -file or -command", |settings| {
            settings.proxy.password = Some(password.expose().to_owned());
        })?;
    }
    Ok(targets)
}

/// Merges how the proxies are used.
fn apply_rotation(mut targets: Targets, args: &CommonArgs) -> Result<Targets, Failure> {
    let (pool, connect) = (&args.proxy_pool, &args.network.connect);
    if let Some(list) = connect.noproxy.clone().or_else(ProxyRules::no_proxy_from_env) {
        targets = targets.with_flag("--noproxy", |settings| settings.proxy.no_proxy = Some(list))?;
    }
    if let Some(mode) = pool.proxy_mode {
        targets = targets.with_flag("--proxy-mode", |settings| settings.proxy.mode = Some(mode.into()))?;
    }
    if let Some(limit) = pool.proxy_concurrency {
        targets =
            targets.with_flag("--proxy-concurrency", |settings| settings.proxy.concurrency = Some(limit))?;
    }
    if let Some(fallback) = pool.proxy_fallback {
        let fallback = match fallback {
            ProxyFallbackArg::None => ProxyFallback::None,
            ProxyFallbackArg::Direct => ProxyFallback::Direct,
        };
        targets =
            targets.with_flag("--proxy-fallback", |settings| settings.proxy.fallback = Some(fallback))?;
    }
    Ok(targets)
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Fetches the list of proxies at `url`, over a direct connection.
async fn fetch_list(url: &str, connect: &ConnectArgs) -> Result<Vec<String>, Failure> {
    let mut limits = Limits::default();
    limits.max_body = MAX_LIST_BYTES;
    let builder = Fetcher::builder().max_tier(Tier::Plain).proxy_rules(ProxyRules::default()).limits(limits);
    let fetcher = apply_trust(builder, connect)?.build()?;
    let response = fetcher.get(url).timeout(LIST_TIMEOUT).send().await?;
    let shown = rungs::redact::url_text(url);
    if !response.status().is_success() {
        let status = response.status().as_u16();
        return Err(Failure::Config(format!("--proxies: {shown} answered {status} instead of a list")));
    }
    let text = response.text()?;
    let proxies = Proxy::parse_list(&text, &shown)?;
    Ok(proxies.iter().map(|proxy| proxy.url().expose().to_owned()).collect())
}

/// The maximum size of a list at a URL, in bytes.
const MAX_LIST_BYTES: u64 = 4 << 20;
const LIST_TIMEOUT: Duration = Duration::from_secs(15);
