//! The proxy pool of the command line, merged over the settings of targets.

use std::time::Duration;

use rungs::target::{HumanDuration, Targets};
use rungs::{Fetcher, Limits, Proxy, ProxyRules, RotationMode, Tier};

use super::args::{CommonArgs, ConnectArgs, ProxyPoolArgs};
use super::config::{apply_trust, flag_error};
use super::exit::Failure;
use super::value_enums::ProxyFallbackArg;

/// Whether the command line requests a pool, rather than a single proxy or none.
pub(crate) fn is_requested(args: &CommonArgs) -> bool {
    let pool = &args.proxy_pool;
    let has_pool_option =
        pool.proxy_mode.is_some() || pool.proxy_concurrency.is_some() || pool.proxy_fallback.is_some();
    let has_password = !pool.password.is_none();
    let has_account =
        account_settings(pool).iter().any(|(_, _, text)| text.is_some()) || pool.session_ttl.is_some();
    pool.proxies.is_some()
        || args.network.connect.proxy.len() > 1
        || has_pool_option
        || has_password
        || has_account
}

/// Returns the settings of an account that are copied as text: flag, key and value.
fn account_settings(pool: &ProxyPoolArgs) -> [(&'static str, &'static str, Option<&str>); 8] {
    [
        ("--dialect", "proxy.dialect", pool.dialect.as_deref()),
        ("--gateway", "proxy.gateway", pool.gateway.as_deref()),
        ("--country", "proxy.country", pool.country.as_deref()),
        ("--state", "proxy.state", pool.state.as_deref()),
        ("--city", "proxy.city", pool.city.as_deref()),
        ("--zip", "proxy.zip", pool.zip.as_deref()),
        ("--asn", "proxy.asn", pool.asn.as_deref()),
        ("--isp", "proxy.isp", pool.isp.as_deref()),
    ]
}

/// Merges the pool arguments over `targets`.
pub(crate) async fn apply(
    mut targets: Targets,
    args: &CommonArgs,
    urls: &[String],
) -> Result<Targets, Failure> {
    let (pool, connect) = (&args.proxy_pool, &args.network.connect);
    let mut set = |flag: &str, key: &str, value: toml::Value| -> Result<(), Failure> {
        targets = targets.clone().with_flag(flag, key, value)?;
        Ok(())
    };
    if !connect.proxy.is_empty() {
        for text in &connect.proxy {
            text.parse::<Proxy>().map_err(|error| flag_error("-x/--proxy", &error))?;
        }
        set("-x/--proxy", "proxy.urls", connect.proxy.clone().into())?;
    }
    match &pool.proxies {
        Some(url) if is_url(url) => set("--proxies", "proxy.urls", fetch_list(url, connect).await?.into())?,
        Some(path) => {
            set("--proxies", "proxy.urls", Vec::<String>::new().into())?;
            set("--proxies", "proxy.pool", path.as_str().into())?;
        }
        None => {}
    }
    if pool.dialect.is_some() {
        // Overrides the proxies of targets and of the environment.
        set("--dialect", "proxy.urls", Vec::<String>::new().into())?;
        set("--dialect", "proxy.pool", "".into())?;
    }
    for (flag, key, text) in account_settings(pool) {
        if let Some(text) = text {
            set(flag, key, text.into())?;
        }
    }
    if let Some(text) = &pool.session_ttl {
        text.parse::<HumanDuration>().map_err(|reason| Failure::Usage(format!("--session-ttl: {reason}")))?;
        set("--session-ttl", "proxy.session_ttl", text.as_str().into())?;
    }
    if let Some(text) = &connect.proxy_user {
        let (user, password) = text.split_once(':').map_or((text.as_str(), None), |(u, p)| (u, Some(p)));
        set("-U/--proxy-user", "proxy.user", user.into())?;
        if let Some(password) = password {
            set("-U/--proxy-user", "proxy.password", password.into())?;
        }
    }
    if let Some(password) = pool.password.read()? {
        set("--password-env, -file or -command", "proxy.password", password.expose().into())?;
    }
    if let Some(list) = connect.noproxy.clone().or_else(ProxyRules::no_proxy_from_env) {
        set("--noproxy", "proxy.no_proxy", list.into())?;
    }
    if let Some(mode) = pool.proxy_mode {
        set("--proxy-mode", "proxy.mode", RotationMode::from(mode).name().into())?;
    }
    if let Some(limit) = pool.proxy_concurrency {
        set("--proxy-concurrency", "proxy.concurrency", i64::from(limit).into())?;
    }
    if let Some(fallback) = pool.proxy_fallback {
        let name = match fallback {
            ProxyFallbackArg::None => "none",
            ProxyFallbackArg::Direct => "direct",
        };
        set("--proxy-fallback", "proxy.fallback", name.into())?;
    }
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
