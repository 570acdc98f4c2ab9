//! Builds a profile from a recording. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::driver::Recording;
use super::recording::RecordedRequest;
use super::scenario::SCENARIOS;
use super::{hellos, hpack_style, merge_profiles};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Context;
use crate::fingerprint::Http2Fingerprint;
use crate::fingerprint::header_template::TemplateCache;
use crate::fingerprint::profile::{
    Brand, Browser, HeaderTemplate, Hpack, Http2, Priority, Profile, Provenance, SCHEMA, Tls, WireProtocol,
};

/// Builds the profile `name` of the recorded browser, as TOML. Equal recordings give equal texts.
///
/// # Errors
/// [`ErrorKind::Profile`] with the part that the recording lacks or contradicts.
pub fn capture(recording: &Recording, name: &str, today: &str) -> Result<String> {
    let profile = profile(recording, name, today)?;
    let text = to_toml(&profile);
    // The text must parse to the same profile.
    let read = Profile::from_toml(&text, name)?;
    if read == profile { Ok(text) } else { Err(missing_error("a profile that TOML can represent")) }
}

fn profile(recording: &Recording, name: &str, today: &str) -> Result<Profile> {
    let mut samples: BTreeMap<(usize, usize, bool, bool), Vec<&RecordedRequest>> = BTreeMap::new();
    let mut priority: BTreeMap<String, Priority> = BTreeMap::new();
    let mut hints = BTreeMap::new();
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.is_captured) {
        for over in scenario.protocols {
            let mut recorded = recording.requests(scenario, *over).into_iter();
            for expected in scenario.steps.iter().flat_map(|step| step.requests) {
                let context = Context::ALL.iter().position(|c| *c == expected.context).unwrap_or(0);
                for (redirected, path) in [(false, expected.path), (true, expected.final_target.1)] {
                    if redirected && !expected.is_redirected() {
                        continue;
                    }
                    let request =
                        recorded.next().filter(|request| request.path == path).ok_or_else(|| {
                            missing_error(&format!(
                                "a request for {path} in {}/{}",
                                scenario.name,
                                over.name()
                            ))
                        })?;
                    let hinted = expected.context.is_script()
                        && request.headers.iter().any(|(n, _)| merge_profiles::is_hint(n));
                    samples.entry((*over as usize, context, redirected, hinted)).or_default().push(request);
                    if let Some(value) = request.priority
                        && *priority.entry(expected.context.name().to_owned()).or_insert(value) != value
                    {
                        return Err(missing_error(&format!(
                            "a consistent priority for {}",
                            expected.context.name()
                        )));
                    }
                    for (name, value) in &request.headers {
                        if merge_profiles::is_hint(name) {
                            hints.insert(name.to_ascii_lowercase(), value.clone());
                        }
                    }
                }
            }
        }
    }
    let mut headers = Vec::new();
    for ((over, context, redirected, hinted), samples) in samples {
        let over = [WireProtocol::Http2, WireProtocol::Http1, WireProtocol::Cleartext][over];
        let context = Context::ALL[context].name().to_owned();
        let fields = merge_profiles::merge_fields(&samples).map_err(|reason| {
            missing_error(&format!("a consistent header order for {context}/{}: {reason}", over.name()))
        })?;
        headers.push(HeaderTemplate {
            context,
            over,
            redirected,
            hinted,
            fields,
            cache: TemplateCache::default(),
        });
    }
    let browser =
        browser(&recording.page).ok_or_else(|| missing_error("the values that a page's script sees"))?;
    let mut connections = recording.scenarios.get("navigation/h2").into_iter().flatten();
    let opening = connections
        .find_map(|c| c.opening.as_ref())
        .ok_or_else(|| missing_error("the start of an HTTP/2 connection"))?;
    let hpack =
        hpack_style::hpack(recording.scenarios.values().flatten()).map_err(|what| missing_error(&what))?;
    Ok(Profile {
        schema: SCHEMA,
        name: name.to_owned(),
        provenance: provenance(recording, &browser, today),
        browser: Some(browser),
        tls: hellos::tls(recording).map_err(|what| missing_error(&what))?,
        http2: http2(opening, hpack, priority),
        hints,
        headers,
        language: None,
    })
}

fn provenance(recording: &Recording, browser: &Browser, today: &str) -> Provenance {
    // The brand that is neither Chromium nor the GREASE brand, if there is one.
    let product = browser
        .brands
        .iter()
        .map(|brand| brand.brand.as_str())
        .find(|brand| *brand != "Chromium" && !brand.contains("Brand"))
        .unwrap_or("Chromium");
    let version = recording.client.rsplit('/').next().unwrap_or_default();
    let channel = recording.version.split_once(version).map_or("", |(_, rest)| rest.trim());
    Provenance {
        browser: product.to_owned(),
        version: version.to_owned(),
        channel: if channel.is_empty() { "stable".to_owned() } else { channel.to_owned() },
        os: format!("{} {}", browser.platform, std::env::consts::ARCH),
        captured: today.to_owned(),
        method: format!(
            "rungs {} profile capture: headless=new, its HeadlessChrome read as Chrome, \
             against the lab's recorder on loopback",
            env!("CARGO_PKG_VERSION")
        ),
        derived: false,
    }
}

fn browser(page: &serde_json::Value) -> Option<Browser> {
    let text = |key: &str| page[key].as_str().map(str::to_owned);
    let brands = |key: &str| {
        let list = page[key].as_array()?.iter();
        list.map(|one| {
            let (brand, version) = (one["brand"].as_str()?, one["version"].as_str()?);
            Some(Brand { brand: brand.to_owned(), version: version.to_owned() })
        })
        .collect::<Option<Vec<_>>>()
    };
    let languages = page["languages"].as_array()?.iter();
    Some(Browser {
        user_agent: text("userAgent")?,
        platform: text("platform")?,
        platform_version: text("platformVersion")?,
        architecture: text("architecture")?,
        bitness: text("bitness")?,
        mobile: page["mobile"].as_bool()?,
        model: text("model").unwrap_or_default(),
        brands: brands("brands")?,
        full_version_list: brands("fullVersionList")?,
        languages: languages.map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?,
    })
}

fn http2(opening: &Http2Fingerprint, hpack: Hpack, priority: BTreeMap<String, Priority>) -> Http2 {
    let pseudo = opening.fields.iter().filter_map(|field| field.name.strip_prefix(':'));
    Http2 {
        settings: opening.settings.clone(),
        window_update: opening.window_update,
        pseudo_order: pseudo.map(str::to_owned).collect(),
        hpack,
        priority,
    }
}

fn missing_error(what: &str) -> Error {
    Error::new(ErrorKind::Profile, format!("the recording does not contain {what}"))
}

/// Formats a profile as readable TOML.
fn to_toml(profile: &Profile) -> String {
    let mut out = String::new();
    let from = &profile.provenance;
    write_text(
        &mut out,
        format_args!("# {} {} on {}, captured by rungs.\n", from.browser, from.version, from.os),
    );
    write_text(&mut out, format_args!("schema = {}\nname = {}\n", profile.schema, quote(&profile.name)));
    write_section(&mut out, "provenance", from);
    if let Some(browser) = &profile.browser {
        write_section(&mut out, "browser", browser);
    }
    let tls = &profile.tls;
    write_section(&mut out, "tls", &Tls { extension_bodies: BTreeMap::new(), ..tls.clone() });
    write_section(&mut out, "tls.extension_bodies", &tls.extension_bodies);
    let http2 = &profile.http2;
    write_section(&mut out, "http2", &Http2 { priority: BTreeMap::new(), ..http2.clone() });
    write_section(&mut out, "http2.priority", &http2.priority);
    write_section(&mut out, "hints", &profile.hints);
    for headers in &profile.headers {
        write_text(
            &mut out,
            format_args!(
                "\n[[headers]]\ncontext = {}\nover = {}\n",
                quote(&headers.context),
                quote(headers.over.name())
            ),
        );
        if headers.redirected {
            out.push_str("redirected = true\n");
        }
        if headers.hinted {
            out.push_str("hinted = true\n");
        }
        out.push_str("fields = [\n");
        for field in &headers.fields {
            let value = field.value.as_ref().map(|value| format!(", {}", quote(value))).unwrap_or_default();
            write_text(&mut out, format_args!("  [{}{value}],\n", quote(&field.name)));
        }
        out.push_str("]\n");
    }
    out
}

fn write_section<T: serde::Serialize>(out: &mut String, name: &str, value: &T) {
    write_text(out, format_args!("\n[{name}]\n"));
    if let Ok(toml::Value::Table(table)) = toml::Value::try_from(value) {
        for (key, value) in table {
            // An empty table is omitted.
            if !matches!(&value, toml::Value::Table(table) if table.is_empty()) {
                write_text(out, format_args!("{key} = {value}\n"));
            }
        }
    }
}

fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn write_text(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String cannot fail");
}
