//! Derived profiles. A derived browser shares the engine of a captured one, and so its TLS, HTTP/2 and header
//! order. It has its own name, platform and hints.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::brands;
use super::profile::{Browser, Profile, Provenance, SCHEMA, TemplateField};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::settings::toml_file;

/// The keys of a derived profile. All others come from its base.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DerivedProfile {
    schema: u32,
    name: String,
    derive_from: String,
    provenance: Provenance,
    browser: Browser,
    #[serde(default)]
    hints: BTreeMap<String, String>,
}

/// Whether a profile's text has a `derive_from`.
pub(super) fn is_derived(text: &str) -> bool {
    #[derive(Deserialize)]
    struct ProfileHeader {
        derive_from: Option<toml::Value>,
    }
    toml::from_str::<ProfileHeader>(text).is_ok_and(|header| header.derive_from.is_some())
}

/// Completes a derived profile from its base.
pub(super) fn resolve(text: &str, origin: &str) -> Result<Profile> {
    let derived: DerivedProfile = toml::from_str(text).map_err(|cause| {
        Error::new(ErrorKind::Profile, toml_file::format_parse_error(text, origin, &cause))
    })?;
    let wrong = |message: String| Error::new(ErrorKind::Profile, format!("{origin}: {message}"));
    if derived.schema != SCHEMA {
        return Err(wrong(format!("schema is {}, this build reads {SCHEMA}", derived.schema)));
    }
    if !derived.provenance.derived {
        return Err(wrong(
            "a profile with `derive_from` needs `derived = true` in its provenance".to_owned(),
        ));
    }
    let base = Profile::named(&derived.derive_from).map_err(|error| {
        wrong("`derive_from` does not name a shipped profile".to_owned()).with_source(error)
    })?;
    if base.provenance.derived {
        return Err(wrong(format!("`{}` is itself derived: name a captured profile", derived.derive_from)));
    }
    Ok(apply(Profile::clone(&base), derived))
}

fn apply(mut profile: Profile, derived: DerivedProfile) -> Profile {
    let DerivedProfile { name, provenance, browser, hints, .. } = derived;
    // The user agent hints of the base must not remain. Hints about screen, memory and network are kept: they
    // describe the machine of the base.
    profile.hints.retain(|hint, _| !hint.starts_with(USER_AGENT_HINT));
    profile.hints.extend(hints);
    for headers in &mut profile.headers {
        for TemplateField { name, value } in &mut headers.fields {
            let Some(value) = value else { continue };
            if let Some(own) = own_header_value(&name.to_ascii_lowercase(), &browser, &profile.hints) {
                *value = own;
            }
        }
    }
    Profile { name, provenance, browser: Some(browser), ..profile }
}

/// The value that header `name` has for `browser`, if it depends on the browser.
fn own_header_value(name: &str, browser: &Browser, hints: &BTreeMap<String, String>) -> Option<String> {
    identity_header(name, browser).or_else(|| hints.get(name).cloned())
}

/// The value of a header that every request carries; `None` for headers that do not depend on the browser.
pub(super) fn identity_header(name: &str, browser: &Browser) -> Option<String> {
    Some(match name {
        "user-agent" => browser.user_agent.clone(),
        "sec-ch-ua" => brands::header(&browser.brands),
        "sec-ch-ua-mobile" => format_flag(browser.mobile),
        "sec-ch-ua-platform" => format!("\"{}\"", browser.platform),
        "accept-language" => accept_language(&browser.languages),
        _ => return None,
    })
}

/// The value of an Accept-CH hint; `None` if [`Browser`] does not determine it.
pub(super) fn identity_hint(name: &str, browser: &Browser) -> Option<String> {
    let quoted = |text: &str| Some(format!("\"{text}\""));
    match name {
        "sec-ch-ua-arch" => quoted(&browser.architecture),
        "sec-ch-ua-bitness" => quoted(&browser.bitness),
        "sec-ch-ua-platform-version" => quoted(&browser.platform_version),
        "sec-ch-ua-model" => quoted(&browser.model),
        "sec-ch-ua-full-version-list" => Some(brands::header(&browser.full_version_list)),
        "sec-ch-ua-form-factors" => quoted(if browser.mobile { "Mobile" } else { "Desktop" }),
        "sec-ch-ua-wow64" => Some(format_flag(false)),
        _ => identity_header(name, browser).filter(|_| name.starts_with(USER_AGENT_HINT)),
    }
}

fn format_flag(on: bool) -> String {
    if on { "?1" } else { "?0" }.to_owned()
}

/// Formats languages with Chrome's weights: 0.1 less for each, at least 0.1. After the last region of a
/// language, the header adds the language itself, which `navigator.languages` may lack.
pub(super) fn accept_language(languages: &[String]) -> String {
    let base = |language: &str| language.split('-').next().unwrap_or(language).to_owned();
    let mut all: Vec<String> = Vec::new();
    for (at, language) in languages.iter().enumerate() {
        let own = base(language);
        let is_continued = languages.get(at + 1).is_some_and(|next| base(next) == own);
        for one in [Some(language.clone()), (!is_continued).then_some(own)].into_iter().flatten() {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    let weighed = all.iter().enumerate().map(|(at, language)| match at {
        0 => language.clone(),
        _ => format!("{language};q=0.{}", 10_usize.saturating_sub(at).max(1)),
    });
    weighed.collect::<Vec<_>>().join(",")
}

const USER_AGENT_HINT: &str = "sec-ch-ua";

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../profiles/browsers/google-chrome-156-windows.toml");

    fn value(profile: &Profile, name: &str) -> Vec<String> {
        let fields = profile.headers.iter().flat_map(|headers| &headers.fields);
        let named = fields.filter(|field| field.name.eq_ignore_ascii_case(name));
        named.filter_map(|field| field.value.clone()).collect()
    }

    #[test]
    fn a_derived_profile_differs_from_its_base_in_identity_only() {
        let base = Profile::named("chrome-156-linux").unwrap();
        let windows = Profile::named("google-chrome-156-windows").unwrap();
        assert_eq!((&windows.tls, &windows.http2), (&base.tls, &base.http2));
        assert_eq!(windows.headers.len(), base.headers.len());
        for (ours, theirs) in windows.headers.iter().zip(&base.headers) {
            let names = |fields: &[TemplateField]| fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&ours.fields), names(&theirs.fields));
        }
        let values: std::collections::BTreeSet<String> =
            ["user-agent", "sec-ch-ua", "sec-ch-ua-platform", "sec-ch-ua-mobile"]
                .iter()
                .flat_map(|name| value(&windows, name))
                .collect();
        assert_eq!(
            values.into_iter().collect::<Vec<_>>(),
            [
                r#""Not:A-Brand";v="8", "Chromium";v="156", "Google Chrome";v="156""#,
                r#""Windows""#,
                "?0",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
            ]
        );
        assert!(windows.provenance.derived && !base.provenance.derived);
    }

    #[test]
    fn user_agent_hints_of_the_base_are_removed() {
        let base = Profile::named("chrome-156-linux").unwrap();
        let DerivedProfile { schema, name, derive_from, provenance, browser, .. } =
            toml::from_str(TEXT).unwrap();
        let hints = BTreeMap::from([("sec-ch-ua-arch".to_owned(), "\"own\"".to_owned())]);
        let mut with_hints = Profile::clone(&base);
        for (hint, value) in [("sec-ch-ua-model", "\"base\""), ("sec-ch-ua-arch", "\"base\""), ("dpr", "1")] {
            with_hints.hints.insert(hint.to_owned(), value.to_owned());
        }
        let derived = DerivedProfile { schema, name, derive_from, provenance, browser, hints };
        let profile = apply(with_hints, derived);
        assert_eq!(profile.hints.get("sec-ch-ua-arch").map(String::as_str), Some("\"own\""));
        assert_eq!(profile.hints.get("dpr").map(String::as_str), Some("1"));
        assert!(!profile.hints.contains_key("sec-ch-ua-model"));
    }

    #[test]
    fn invalid_derived_profiles_are_errors_that_name_the_file() {
        for (from, to, expected) in [
            (
                "derive_from = \"chrome-156-linux\"",
                "derive_from = \"chrome-1\"",
                "does not name a shipped profile",
            ),
            ("derive_from = \"chrome-156-linux\"", "derive_from = \"edge-156-windows\"", "is itself derived"),
            ("derive_from = \"chrome-156-linux\"", "derive_from = 3", "t.toml:4:15: key `derive_from`"),
            ("derived = true", "derived = false", "needs `derived = true`"),
            ("schema = 1", "schema = 9", "schema is 9"),
            ("mobile = false", "mobile = 1", "key `mobile`"),
            ("mobile = false", "mobil = false", "unknown field `mobil`"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let error = Profile::from_toml(&TEXT.replace(from, to), "t.toml").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Profile);
            assert!(error.chain().starts_with("t.toml:"), "{}", error.chain());
            assert!(error.chain().contains(expected), "{}", error.chain());
        }
    }

    #[test]
    fn accept_language_has_the_weights_of_chrome() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(accept_language(&list("en")), "en");
        assert_eq!(accept_language(&list("fr-CA en-US en")), "fr-CA,fr;q=0.9,en-US;q=0.8,en;q=0.7");
        assert_eq!(accept_language(&list("de-AT de-DE fr")), "de-AT,de-DE;q=0.9,de;q=0.8,fr;q=0.7");
        assert_eq!(accept_language(&list("en-US en")), "en-US,en;q=0.9");
        assert_eq!(accept_language(&list("nl-NL nl en-US en")), "nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7");
        assert!(accept_language(&list("a b c d e f g h i j k l")).ends_with("j;q=0.1,k;q=0.1,l;q=0.1"));
    }
}
