//! Proxies, pools of proxies and provider accounts.

#[cfg(feature = "browser")]
mod browser_identities;
mod check;
mod dialects;
mod digest;
mod http_proxy;
mod kinds;
mod pool;
mod pool_cli;
mod socks4;
