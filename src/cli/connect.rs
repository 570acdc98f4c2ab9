//! Applies the arguments of proxies, certificates and name resolution.

use rungs::{Error, FetcherBuilder, Proxy, ProxyRules, Secret};

use super::args::ConnectArgs;
use super::exit::Failure;
use super::values::{flag_error, parse_resolve};

/// Applies proxy, certificate and name resolution arguments to a builder.
pub(crate) fn apply_connect(
    mut builder: FetcherBuilder,
    args: &ConnectArgs,
) -> Result<FetcherBuilder, Failure> {
    let rules = proxy_rules(args)?;
    if !args.proxy.is_empty() || !rules.is_direct() {
        builder = builder.proxy_rules(rules);
    }
    apply_trust(builder, args)
}

/// Applies certificate and name resolution arguments to a builder.
pub(crate) fn apply_trust(
    mut builder: FetcherBuilder,
    args: &ConnectArgs,
) -> Result<FetcherBuilder, Failure> {
    builder = builder.insecure(args.insecure);
    builder = builder.proxy_insecure(args.proxy_insecure).allow_private(args.allow_private);
    if let Some(path) = &args.proxy_cacert {
        builder = builder.proxy_ca_file(path);
    }
    if let Some(path) = &args.cacert {
        builder = builder.ca_file(path);
    }
    for text in &args.resolve {
        let (host, port, address) = parse_resolve(text)?;
        builder = builder.resolve(host, port, address);
    }
    Ok(builder)
}

/// Builds the proxy rules from flags and environment, with the same precedence as curl.
fn proxy_rules(args: &ConnectArgs) -> Result<ProxyRules, Failure> {
    let rules = match args.proxy.as_slice() {
        [] => ProxyRules::from_env()?,
        [text] if text.is_empty() => ProxyRules::default(),
        [text] => {
            let proxy: Proxy = text.parse().map_err(|error: Error| flag_error("-x/--proxy", &error))?;
            ProxyRules::through(proxy)
        }
        _ => return Err(Failure::Usage("-x/--proxy: this command accepts only one proxy".to_owned())),
    };
    let rules = match args.noproxy.clone().or_else(ProxyRules::no_proxy_from_env) {
        Some(list) => rules.no_proxy(&list),
        None => rules,
    };
    let rules = if args.proxy_digest { rules.with_digest() } else { rules };
    let Some(text) = &args.proxy_user else { return Ok(rules) };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok(rules.or_credentials(user, &Secret::new(password)))
}
