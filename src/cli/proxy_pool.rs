//! The pool of proxies that the command line asks for, as settings laid over the targets'.

use std::time::Duration;

use rungs::target::{HumanDuration, Targets};
use rungs::{Fetcher, Limits, Proxy, ProxyRules, RotationMode, Tier};

use super::args::{CommonArgs, ConnectArgs, ProxyPoolArgs};
use super::config::{apply_trust, flag_error};
use super::exit::Failure;
use super::value_enums::ProxyFallbackArg;

/// Whether the command line asks for a pool, and not for a single proxy or none.
pub(crate) fn is_requested(args: &CommonArgs) -> bool {
    let exits = &args.proxy_pool;
    let how =
        exits.proxy_mode.is_some() || exits.proxy_concurrency.is_some() || exits.proxy_fallback.is_some();
    let password = !exits.password.is_none();
    let of_account =
        account_settings(exits).iter().any(|(_, _, text)| text.is_some()) || exits.session_ttl.is_some();
    exits.proxies.is_some() || args.network.connect.proxy.len() > 1 || how || password || of_account
}

/// What is said of an account as it is, by flag and key.
fn account_settings(exits: &ProxyPoolArgs) -> [(&'static str, &'static str, Option<&str>); 8] {
    [
        ("--dialect", "proxy.dialect", exits.dialect.as_deref()),
        ("--gateway", "proxy.gateway", exits.gateway.as_deref()),
        ("--country", "proxy.country", exits.country.as_deref()),
        ("--state", "proxy.state", exits.state.as_deref()),
        ("--city", "proxy.city", exits.city.as_deref()),
        ("--zip", "proxy.zip", exits.zip.as_deref()),
        ("--asn", "proxy.asn", exits.asn.as_deref()),
        ("--isp", "proxy.isp", exits.isp.as_deref()),
    ]
}

/// Lays what is said of a pool over `targets`.
pub(crate) async fn apply(
    mut targets: Targets,
    args: &CommonArgs,
    urls: &[String],
) -> Result<Targets, Failure> {
    let (exits, reach) = (&args.proxy_pool, &args.network.connect);
    let mut set = |flag: &str, key: &str, value: toml::Value| -> Result<(), Failure> {
        targets = targets.clone().with_flag(flag, key, value)?;
        Ok(())
    };
    if !reach.proxy.is_empty() {
        for text in &reach.proxy {
            text.parse::<Proxy>().map_err(|error| flag_error("-x/--proxy", &error))?;
        }
        set("-x/--proxy", "proxy.urls", reach.proxy.clone().into())?;
    }
    match &exits.proxies {
        Some(place) if is_url(place) => {
            set("--proxies", "proxy.urls", fetch_list(place, reach).await?.into())?
        }
        Some(path) => {
            set("--proxies", "proxy.urls", Vec::<String>::new().into())?;
            set("--proxies", "proxy.pool", path.as_str().into())?;
        }
        None => {}
    }
    if exits.dialect.is_some() {
        // What a target or the environment says of other proxies is not meant.
        set("--dialect", "proxy.urls", Vec::<String>::new().into())?;
        set("--dialect", "proxy.pool", "".into())?;
    }
    for (flag, key, text) in account_settings(exits) {
        if let Some(text) = text {
            set(flag, key, text.into())?;
        }
    }
    if let Some(text) = &exits.session_ttl {
        text.parse::<HumanDuration>().map_err(|what| Failure::Usage(format!("--session-ttl: {what}")))?;
        set("--session-ttl", "proxy.session_ttl", text.as_str().into())?;
    }
    if let Some(text) = &reach.proxy_user {
        let (user, password) = text.split_once(':').map_or((text.as_str(), None), |(u, p)| (u, Some(p)));
        set("-U/--proxy-user", "proxy.user", user.into())?;
        if let Some(password) = password {
            set("-U/--proxy-user", "proxy.password", password.into())?;
        }
    }
    if let Some(password) = exits.password.read()? {
        set("--password-env, -file or -command", "proxy.password", password.expose().into())?;
    }
    if let Some(list) = reach.noproxy.clone().or_else(ProxyRules::no_proxy_from_env) {
        set("--noproxy", "proxy.around", list.into())?;
    }
    if let Some(mode) = exits.proxy_mode {
        set("--proxy-mode", "proxy.mode", RotationMode::from(mode).name().into())?;
    }
    if let Some(most) = exits.proxy_concurrency {
        set("--proxy-concurrency", "proxy.concurrency", i64::from(most).into())?;
    }
    if let Some(fallback) = exits.proxy_fallback {
        let name = match fallback {
            ProxyFallbackArg::None => "none",
            ProxyFallbackArg::Direct => "direct",
        };
        set("--proxy-fallback", "proxy.fallback", name.into())?;
    }
    let urls = urls.iter().filter_map(|url| rungs::parse_url(url).ok());
    let is_for =
        |url| !targets.resolve(&url).is_ok_and(|found| matches!(found.settings().proxy.pool(), Ok(None)));
    let mut pools = urls.map(is_for).peekable();
    if pools.peek().is_some() && !pools.any(|is_for| is_for) {
        let message = "there is no proxy to use so: name it with -x, --proxies or --dialect, or in a target \
             (the environment's proxies are not meant)";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(targets)
}

fn is_url(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

/// The proxies listed at `url`, asked for once and without a proxy.
async fn fetch_list(url: &str, reach: &ConnectArgs) -> Result<Vec<String>, Failure> {
    let mut bounds = Limits::default();
    bounds.max_body = MAX_LIST_BYTES;
    let builder = Fetcher::builder().max_tier(Tier::Plain).proxy_rules(ProxyRules::default()).limits(bounds);
    let fetcher = apply_trust(builder, reach)?.build()?;
    let page = fetcher.get(url).timeout(LIST_TIMEOUT).send().await?;
    let shown = rungs::redact::url_text(url);
    if !page.status().is_success() {
        let status = page.status().as_u16();
        return Err(Failure::Config(format!("--proxies: {shown} answered {status} instead of a list")));
    }
    let text = page.text()?;
    let proxies = Proxy::parse_list(&text, &shown)?;
    Ok(proxies.iter().map(|proxy| proxy.url().expose().to_owned()).collect())
}

/// The largest list taken from a URL, in bytes.
const MAX_LIST_BYTES: u64 = 4 << 20;
const LIST_TIMEOUT: Duration = Duration::from_secs(15);
