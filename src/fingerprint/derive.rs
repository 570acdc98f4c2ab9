//! Derived profiles: a browser that shares a captured one's engine, and so its TLS, HTTP/2 and header
//! order, with a name, platform and hints of its own.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::brands;
use super::profile::{Browser, Profile, Provenance, SCHEMA, TemplateField};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::toml_file;

/// What a derived profile says itself. All else is its base's.
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

/// Whether a profile's text names a base.
pub(super) fn is_derived(text: &str) -> bool {
    #[derive(Deserialize)]
    struct ProfileHeader {
        derive_from: Option<toml::Value>,
    }
    toml::from_str::<ProfileHeader>(text).is_ok_and(|peek| peek.derive_from.is_some())
}

/// Completes a derived profile from its base.
pub(super) fn resolve(text: &str, origin: &str) -> Result<Profile> {
    let derived: DerivedProfile = toml::from_str(text).map_err(|cause| {
        Error::new(ErrorKind::Profile, toml_file::format_parse_error(text, origin, &cause))
    })?;
    let wrong = |what: String| Error::new(ErrorKind::Profile, format!("{origin}: {what}"));
    if derived.schema != SCHEMA {
        return Err(wrong(format!("schema is {}, this build reads {SCHEMA}", derived.schema)));
    }
    if !derived.provenance.derived {
        return Err(wrong("a profile with `derive_from` says `derived = true` in its provenance".to_owned()));
    }
    let base = Profile::named(&derived.derive_from)
        .map_err(|error| wrong("`derive_from` names no profile".to_owned()).with_source(error))?;
    if base.provenance.derived {
        return Err(wrong(format!("`{}` is derived itself: name the captured one", derived.derive_from)));
    }
    Ok(apply(Profile::clone(&base), derived))
}

fn apply(mut profile: Profile, derived: DerivedProfile) -> Profile {
    let DerivedProfile { name, provenance, browser, hints, .. } = derived;
    // Of the user agent's hints none may be left over from the base; screen, memory and network are the
    // base machine's still.
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

/// What the header `name` says of `browser`, where it says anything of it.
fn own_header_value(name: &str, browser: &Browser, hints: &BTreeMap<String, String>) -> Option<String> {
    identity_header(name, browser).or_else(|| hints.get(name).cloned())
}

/// What a header that every request carries says of the browser; `None` for all other headers.
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

/// What an Accept-CH hint says of the browser; `None` where [`Browser`] does not decide it.
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

/// Languages as Chrome weighs them: a tenth less for each, down to a tenth. Its header asks for a language
/// behind the last of its regions in a row, where the list that scripts see may lack it.
pub(super) fn accept_language(languages: &[String]) -> String {
    let base = |language: &str| language.split('-').next().unwrap_or(language).to_owned();
    let mut all: Vec<String> = Vec::new();
    for (at, language) in languages.iter().enumerate() {
        let own = base(language);
        let goes_on = languages.get(at + 1).is_some_and(|next| base(next) == own);
        for one in [Some(language.clone()), (!goes_on).then_some(own)].into_iter().flatten() {
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
    fn a_derived_profile_is_its_base_but_for_who_it_says_it_is() {
        let base = Profile::named("chrome-156-linux").unwrap();
        let windows = Profile::named("google-chrome-156-windows").unwrap();
        assert_eq!((&windows.tls, &windows.http2), (&base.tls, &base.http2));
        assert_eq!(windows.headers.len(), base.headers.len());
        for (ours, theirs) in windows.headers.iter().zip(&base.headers) {
            let names = |fields: &[TemplateField]| fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&ours.fields), names(&theirs.fields));
        }
        let said: std::collections::BTreeSet<String> =
            ["user-agent", "sec-ch-ua", "sec-ch-ua-platform", "sec-ch-ua-mobile"]
                .iter()
                .flat_map(|name| value(&windows, name))
                .collect();
        assert_eq!(
            said.into_iter().collect::<Vec<_>>(),
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
    fn no_hint_of_the_bases_user_agent_is_left_over() {
        let base = Profile::named("chrome-156-linux").unwrap();
        let DerivedProfile { schema, name, derive_from, provenance, browser, .. } =
            toml::from_str(TEXT).unwrap();
        let hints = BTreeMap::from([("sec-ch-ua-arch".to_owned(), "\"own\"".to_owned())]);
        let mut with_hints = Profile::clone(&base);
        for (hint, value) in [("sec-ch-ua-model", "\"base\""), ("sec-ch-ua-arch", "\"base\""), ("dpr", "1")] {
            with_hints.hints.insert(hint.to_owned(), value.to_owned());
        }
        let derived = DerivedProfile { schema, name, derive_from, provenance, browser, hints };
        let dressed = apply(with_hints, derived);
        assert_eq!(dressed.hints.get("sec-ch-ua-arch").map(String::as_str), Some("\"own\""));
        assert_eq!(dressed.hints.get("dpr").map(String::as_str), Some("1"));
        assert!(!dressed.hints.contains_key("sec-ch-ua-model"));
    }

    #[test]
    fn what_cannot_be_derived_is_an_error_that_names_the_file() {
        for (from, to, said) in [
            ("derive_from = \"chrome-156-linux\"", "derive_from = \"chrome-1\"", "names no profile"),
            ("derive_from = \"chrome-156-linux\"", "derive_from = \"edge-156-windows\"", "is derived itself"),
            ("derive_from = \"chrome-156-linux\"", "derive_from = 3", "t.toml:4:15: key `derive_from`"),
            ("derived = true", "derived = false", "says `derived = true`"),
            ("schema = 1", "schema = 9", "schema is 9"),
            ("mobile = false", "mobile = 1", "key `mobile`"),
            ("mobile = false", "mobil = false", "unknown field `mobil`"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let error = Profile::from_toml(&TEXT.replace(from, to), "t.toml").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Profile);
            assert!(error.chain().starts_with("t.toml:"), "{}", error.chain());
            assert!(error.chain().contains(said), "{}", error.chain());
        }
    }

    #[test]
    fn languages_are_weighed_as_chrome_weighs_them() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(accept_language(&list("en")), "en");
        assert_eq!(accept_language(&list("fr-CA en-US en")), "fr-CA,fr;q=0.9,en-US;q=0.8,en;q=0.7");
        assert_eq!(accept_language(&list("de-AT de-DE fr")), "de-AT,de-DE;q=0.9,de;q=0.8,fr;q=0.7");
        assert_eq!(accept_language(&list("en-US en")), "en-US,en;q=0.9");
        assert_eq!(accept_language(&list("nl-NL nl en-US en")), "nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7");
        assert!(accept_language(&list("a b c d e f g h i j k l")).ends_with("j;q=0.1,k;q=0.1,l;q=0.1"));
    }
}
