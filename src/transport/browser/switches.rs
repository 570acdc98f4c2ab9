//! Builds the browser's command line from its settings. No I/O.
//!
//! The switches are headless=new without any automation switch, so that a page sees the same values as in a
//! browser that a user opened. Measured on Chromium 156 (Debian, Linux), November 2026.

use std::path::Path;

use super::BrowserOptions;
use super::proxy_forwarder::{PRIVATE_FORWARDER, PUBLIC_FORWARDER};
use crate::fingerprint::profile::Browser;
use crate::identity::Identity;

/// The settings of a whole process. Identities with different keys cannot share a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProcessKey {
    user_agent: String,
    languages: Vec<String>,
    /// Whether a proxy is used. UDP would bypass it, so it is disabled then.
    proxied: bool,
}

impl ProcessKey {
    /// Returns the key for `identity`, whose browser profile is `browser`.
    pub(super) fn for_identity(identity: &Identity, browser: &Browser) -> Self {
        Self {
            user_agent: browser.user_agent.clone(),
            languages: browser.languages.clone(),
            proxied: !identity.proxy_rules().is_direct(),
        }
    }
}

/// Returns the switches for one process.
pub(super) fn switches(options: &BrowserOptions, key: &ProcessKey, data: &Path, root: bool) -> Vec<String> {
    let mut all: Vec<String> = ALWAYS.iter().map(|&text| text.to_owned()).collect();
    all.push(format!("--user-data-dir={}", data.display()));
    all.push(format!("--user-agent={}", key.user_agent));
    if let Some(first) = key.languages.first() {
        all.push(format!("--lang={first}"));
        all.push(format!("--accept-lang={}", key.languages.join(",")));
    }
    if key.proxied {
        all.push(NO_UDP.to_owned());
    }
    if options.headful {
        all.push("--use-gl=angle".to_owned());
        all.push("--use-angle=gl".to_owned());
    } else {
        all.extend(HEADLESS.iter().map(|&text| text.to_owned()));
    }
    if root {
        all.push("--no-sandbox".to_owned());
    }
    if options.insecure {
        all.push("--ignore-certificate-errors".to_owned());
    }
    all.push(format!("--proxy-server={NO_PROXY}"));
    all.push("--proxy-bypass-list=<-loopback>".to_owned());
    if key.proxied {
        all.push(format!("{NO_DNS}, EXCLUDE {PUBLIC_FORWARDER}, EXCLUDE {PRIVATE_FORWARDER}"));
        all.push(format!("--disable-features={NO_DOH},{NO_MDNS}"));
    } else {
        all.push(format!("--disable-features={NO_DOH}"));
        all.push(CHECKED_WEBRTC.to_owned());
        all.push(format!("--ip-address-space-overrides={PUBLIC_FORWARDER}/32=public"));
    }
    all.extend(options.extra_args.iter().cloned());
    merge_lists(&mut all, "--disable-features=");
    merge_lists(&mut all, "--enable-features=");
    all
}

/// Merges all switches `name` into the last of them, because the browser reads only that one.
fn merge_lists(all: &mut Vec<String>, name: &str) {
    let values: Vec<String> =
        all.iter().filter_map(|switch| switch.strip_prefix(name).map(ToOwned::to_owned)).collect();
    if values.len() > 1 {
        all.retain(|switch| !switch.starts_with(name));
        all.push(format!("{name}{}", values.join(",")));
    }
}

const ALWAYS: &[&str] = &[
    "--remote-debugging-pipe",
    "--no-startup-window",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-client-side-phishing-detection",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--password-store=basic",
    "--use-mock-keychain",
    "--metrics-recording-only",
    "--disable-blink-features=AutomationControlled",
    "--window-size=1920,1040",
    "--disable-quic",
    "--ignore-gpu-blocklist",
];
/// Only behind a proxy: without one, a browser that gathers no ICE candidates is conspicuous.
const NO_UDP: &str = "--webrtc-ip-handling-policy=disable_non_proxied_udp";
/// The proxy of the process, for the browser's own requests (updates, accounts, safe browsing). Each context has a proxy
/// of its own. The kernel refuses TCP to the broadcast address, so that no packet leaves.
const NO_PROXY: &str = "socks5://255.255.255.255:1";
/// Only behind a proxy: no name is looked up by the browser, for example for `dns-prefetch`. Without a proxy, WebRTC has
/// to find its STUN servers.
const NO_DNS: &str = "--host-resolver-rules=MAP * ~NOTFOUND";
/// Only behind a proxy: there WebRTC gathers no local addresses, so that it needs no mDNS names for them.
const NO_MDNS: &str = "WebRtcHideLocalIpsWithMdns";
/// A browser that knows its resolver asks it over HTTPS whether it serves that too.
const NO_DOH: &str = "DnsOverHttpsUpgrade";
/// UDP passes no forwarder. With it, a page of a public site reaches no private address by WebRTC either. To the
/// browser, the address of a page is that of its proxy.
const CHECKED_WEBRTC: &str = "--enable-features=LocalNetworkAccessChecksWebRTC";
const HEADLESS: &[&str] = &[
    "--headless=new",
    "--screen-info={1920x1080 workAreaBottom=40}",
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
    "--use-gl=angle",
    "--use-angle=gl-egl",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Profile;

    fn line(options: &BrowserOptions, root: bool) -> String {
        let profile = Profile::named("chrome-156-linux").unwrap();
        let identity = Identity::new("test", std::sync::Arc::clone(&profile), None);
        let key = ProcessKey::for_identity(&identity, profile.browser.as_ref().unwrap());
        switches(options, &key, Path::new("/d"), root).join("\n")
    }

    #[test]
    fn the_sandbox_is_off_only_for_root() {
        let options = BrowserOptions::default();
        assert!(!line(&options, false).contains("--no-sandbox"));
        assert!(line(&options, true).contains("--no-sandbox"));
    }

    #[test]
    fn no_switch_reveals_automation() {
        let all = line(&BrowserOptions::default(), true);
        for tell in ["--enable-automation", "--disable-popup-blocking", "--hide-scrollbars", "HeadlessChrome"]
        {
            assert!(!all.contains(tell), "{tell}");
        }
    }

    #[test]
    fn certificates_are_checked_unless_insecure_is_set() {
        assert!(!line(&BrowserOptions::default(), false).contains("ignore-certificate"));
        let options = BrowserOptions { insecure: true, ..BrowserOptions::default() };
        assert!(line(&options, false).contains("--ignore-certificate-errors"));
    }

    #[test]
    fn features_of_the_user_are_added_to_the_own_ones() {
        let extra_args = ["--disable-features=A,B", "--enable-features=C"].map(ToOwned::to_owned).to_vec();
        let all = line(&BrowserOptions { extra_args, ..BrowserOptions::default() }, false);
        let lists: Vec<&str> = all.lines().filter(|switch| switch.contains("able-features=")).collect();
        let expected = [format!("--disable-features={NO_DOH},A,B"), format!("{CHECKED_WEBRTC},C")];
        assert_eq!(lists, expected);
    }

    #[test]
    fn the_browsers_own_requests_go_nowhere() {
        assert!(
            line(&BrowserOptions::default(), false).contains("--proxy-server=socks5://255.255.255.255:1")
        );
    }
}
