//! User agent, brands, platform and hints against each other.

use super::{Diagnostics, product};
use crate::fingerprint::brands;
use crate::fingerprint::derive::{identity_header, identity_hint};
use crate::fingerprint::profile::{Browser, Profile};

/// The major version a user agent claims: the number after `Chrome/`.
pub(super) fn chrome_major(user_agent: &str) -> Option<u32> {
    chrome_version(user_agent)?.split('.').next()?.parse().ok()
}

fn chrome_version(user_agent: &str) -> Option<&str> {
    user_agent.split(' ').find_map(|word| word.strip_prefix("Chrome/"))
}

pub(super) fn check(profile: &Profile, browser: &Browser, major: Option<u32>, complaints: &mut Diagnostics) {
    check_user_agent(profile, browser, complaints);
    check_platform(browser, complaints);
    check_hints(profile, browser, complaints);
    let Some(major) = major else {
        let message = "claims no Chrome version; only Chromium's traits are known here";
        return complaints.warning("ua-unknown", "browser.user_agent", message);
    };
    check_brands(profile, browser, major, complaints);
}

fn check_user_agent(profile: &Profile, browser: &Browser, complaints: &mut Diagnostics) {
    let (key, agent) = ("browser.user_agent", browser.user_agent.as_str());
    if agent.contains("Headless") {
        complaints.error("ua-headless", key, "says that the browser is headless");
    }
    if let Some(version) = chrome_version(agent)
        && version.split_once('.').is_some_and(|(_, rest)| rest != "0.0.0")
    {
        complaints.error(
            "ua-reduced",
            key,
            format!("says {version}; Chrome says no more than its major version"),
        );
    }
    let is_edge = agent.contains(" Edg/") || agent.contains(" EdgA/");
    if is_edge != (profile.provenance.browser == "Microsoft Edge") {
        let message = format!(
            "{} Edge's mark, but provenance.browser is {}",
            if is_edge { "has" } else { "lacks" },
            super::quote(&profile.provenance.browser)
        );
        complaints.error("ua-product", key, message);
    }
}

fn check_platform(browser: &Browser, complaints: &mut Diagnostics) {
    let known = PLATFORMS.iter().find(|(mark, _)| browser.user_agent.contains(mark));
    let Some((_, platform)) = known else {
        return complaints.warning("ua-unknown", "browser.user_agent", "names no platform known here");
    };
    complaints.expect_equal("platform", "browser.platform", &browser.platform, platform, "the user agent");
    let phone = browser.user_agent.contains(" Mobile");
    if phone != browser.mobile {
        let message = format!("is {}, but the user agent says {phone}", browser.mobile);
        complaints.error("mobile", "browser.mobile", message);
    }
    if browser.mobile && *platform != "Android" {
        complaints.error("mobile", "browser.mobile", format!("is true on {platform}"));
    }
}

fn check_hints(profile: &Profile, browser: &Browser, complaints: &mut Diagnostics) {
    for (name, value) in &profile.hints {
        let key = format!("hints.{name}");
        if name.bytes().any(|byte| byte.is_ascii_uppercase())
            || http::HeaderName::from_bytes(name.as_bytes()).is_err()
        {
            complaints.error("header-name", &key, "is not a header name in lower case");
        }
        if let Some(expected) = identity_hint(name, browser) {
            complaints.expect_equal("hint", &key, value, &expected, "[browser]");
        } else if name == "sec-ch-ua-full-version" {
            let expected = format!("\"{}\"", profile.provenance.version);
            complaints.expect_equal("hint", &key, value, &expected, "provenance.version");
        }
    }
    // Two places for a header that every request carries, one of them never read.
    for name in ["user-agent", "accept-language"] {
        if profile.hints.contains_key(name) && identity_header(name, browser).is_some() {
            complaints.error("hint", format!("hints.{name}"), "is a header, not a client hint");
        }
    }
}

fn check_brands(profile: &Profile, browser: &Browser, major: u32, complaints: &mut Diagnostics) {
    let version = &profile.provenance.version;
    if version.split('.').next() != Some(major.to_string().as_str()) {
        let message = format!("is {}, but the user agent says {major}", super::quote(version));
        complaints.error("version", "provenance.version", message);
    }
    let product = product(profile, browser);
    let expected = brands::header(&brands::brands(product, major));
    let found = brands::header(&browser.brands);
    complaints.expect_equal("brands", "browser.brands", &found, &expected, "Chromium's algorithm");

    let key = "browser.full_version_list";
    let full = |name: &str| browser.full_version_list.iter().find(|brand| brand.brand == name);
    let Some(chromium) = full("Chromium") else {
        return complaints.error("full-version-list", key, "lacks Chromium");
    };
    let own = product.map(|name| (name, version.as_str()));
    let list = brands::full_version_list(own, major, if own.is_some() { &chromium.version } else { version });
    let found = brands::header(&browser.full_version_list);
    complaints.expect_equal("full-version-list", key, &found, &brands::header(&list), "Chromium's algorithm");
    if chromium.version.split('.').next() != Some(major.to_string().as_str()) {
        let message =
            format!("has Chromium {}, but the user agent says {major}", super::quote(&chromium.version));
        complaints.error("full-version-list", key, message);
    }
}

/// What a user agent's system part says, the more particular first: Android says Linux too.
const PLATFORMS: [(&str, &str); 5] = [
    ("Windows NT", "Windows"),
    ("Macintosh", "macOS"),
    ("Android", "Android"),
    ("X11; CrOS", "Chrome OS"),
    ("X11; Linux", "Linux"),
];
