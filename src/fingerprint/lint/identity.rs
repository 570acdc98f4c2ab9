//! Checks user agent, brands, platform and hints against each other.

use super::{Diagnostics, product};
use crate::fingerprint::brands;
use crate::fingerprint::derive::{identity_header, identity_hint};
use crate::fingerprint::profile::{Browser, Profile};

/// The major version in a user agent: the number after `Chrome/`.
pub(super) fn chrome_major(user_agent: &str) -> Option<u32> {
    chrome_version(user_agent)?.split('.').next()?.parse().ok()
}

fn chrome_version(user_agent: &str) -> Option<&str> {
    user_agent.split(' ').find_map(|word| word.strip_prefix("Chrome/"))
}

pub(super) fn check(profile: &Profile, browser: &Browser, major: Option<u32>, diagnostics: &mut Diagnostics) {
    check_user_agent(profile, browser, diagnostics);
    check_platform(browser, diagnostics);
    check_hints(profile, browser, diagnostics);
    let Some(major) = major else {
        let message = "has no Chrome version; other browsers are not checked any further";
        return diagnostics.warning("ua-unknown", "browser.user_agent", message);
    };
    check_brands(profile, browser, major, diagnostics);
}

fn check_user_agent(profile: &Profile, browser: &Browser, diagnostics: &mut Diagnostics) {
    let (key, agent) = ("browser.user_agent", browser.user_agent.as_str());
    if agent.contains("Headless") {
        diagnostics.error("ua-headless", key, "identifies a headless browser");
    }
    if let Some(version) = chrome_version(agent)
        && version.split_once('.').is_some_and(|(_, rest)| rest != "0.0.0")
    {
        diagnostics.error(
            "ua-reduced",
            key,
            format!("contains {version}; Chrome sends only its major version"),
        );
    }
    let is_edge = agent.contains(" Edg/") || agent.contains(" EdgA/");
    if is_edge != (profile.provenance.browser == "Microsoft Edge") {
        let message = format!(
            "{} Edge's token, but provenance.browser is {}",
            if is_edge { "has" } else { "lacks" },
            super::quote(&profile.provenance.browser)
        );
        diagnostics.error("ua-product", key, message);
    }
}

fn check_platform(browser: &Browser, diagnostics: &mut Diagnostics) {
    let known = PLATFORMS.iter().find(|(mark, _)| browser.user_agent.contains(mark));
    let Some((_, platform)) = known else {
        return diagnostics.warning("ua-unknown", "browser.user_agent", "names no known platform");
    };
    diagnostics.expect_equal("platform", "browser.platform", &browser.platform, platform, "the user agent");
    let phone = browser.user_agent.contains(" Mobile");
    if phone != browser.mobile {
        let message = format!("is {}, but the user agent says {phone}", browser.mobile);
        diagnostics.error("mobile", "browser.mobile", message);
    }
    if browser.mobile && *platform != "Android" {
        diagnostics.error("mobile", "browser.mobile", format!("is true on {platform}"));
    }
}

fn check_hints(profile: &Profile, browser: &Browser, diagnostics: &mut Diagnostics) {
    for (name, value) in &profile.hints {
        let key = format!("hints.{name}");
        if name.bytes().any(|byte| byte.is_ascii_uppercase())
            || http::HeaderName::from_bytes(name.as_bytes()).is_err()
        {
            diagnostics.error("header-name", &key, "is not a header name in lower case");
        }
        if let Some(expected) = identity_hint(name, browser) {
            diagnostics.expect_equal("hint", &key, value, &expected, "[browser]");
        } else if name == "sec-ch-ua-full-version" {
            let expected = format!("\"{}\"", profile.provenance.version);
            diagnostics.expect_equal("hint", &key, value, &expected, "provenance.version");
        }
    }
    // Every request carries these headers; a hint of the same name would never be used.
    for name in ["user-agent", "accept-language"] {
        if profile.hints.contains_key(name) && identity_header(name, browser).is_some() {
            diagnostics.error("hint", format!("hints.{name}"), "is a header, not a client hint");
        }
    }
}

fn check_brands(profile: &Profile, browser: &Browser, major: u32, diagnostics: &mut Diagnostics) {
    let version = &profile.provenance.version;
    if version.split('.').next() != Some(major.to_string().as_str()) {
        let message = format!("is {}, but the user agent says {major}", super::quote(version));
        diagnostics.error("version", "provenance.version", message);
    }
    let product = product(profile, browser);
    let expected = brands::header(&brands::brands(product, major));
    let found = brands::header(&browser.brands);
    diagnostics.expect_equal("brands", "browser.brands", &found, &expected, "Chromium's algorithm");

    let key = "browser.full_version_list";
    let full = |name: &str| browser.full_version_list.iter().find(|brand| brand.brand == name);
    let Some(chromium) = full("Chromium") else {
        return diagnostics.error("full-version-list", key, "lacks Chromium");
    };
    let own = product.map(|name| (name, version.as_str()));
    let list = brands::full_version_list(own, major, if own.is_some() { &chromium.version } else { version });
    let found = brands::header(&browser.full_version_list);
    diagnostics.expect_equal(
        "full-version-list",
        key,
        &found,
        &brands::header(&list),
        "Chromium's algorithm",
    );
    if chromium.version.split('.').next() != Some(major.to_string().as_str()) {
        let message =
            format!("has Chromium {}, but the user agent says {major}", super::quote(&chromium.version));
        diagnostics.error("full-version-list", key, message);
    }
}

/// Platform tokens of a user agent, the more specific first: Android's contains Linux too.
const PLATFORMS: [(&str, &str); 5] = [
    ("Windows NT", "Windows"),
    ("Macintosh", "macOS"),
    ("Android", "Android"),
    ("X11; CrOS", "Chrome OS"),
    ("X11; Linux", "Linux"),
];
