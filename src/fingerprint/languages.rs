//! A browser set to another language: the lists that Chromium makes of one, as measured.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use super::derive::accept_language;
use super::header_template::TemplateCache;
use super::profile::Profile;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

impl Profile {
    /// The same browser set to the language `tag`, for example `de-DE`: its headers and what its scripts
    /// see. In a context of its own (as in an incognito window) Chromium makes the list itself, so only
    /// languages whose list is known can be worn by both tiers.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the language's list is not known.
    pub fn with_language(mut self, tag: &str) -> Result<Self> {
        let list = lists().get(tag).ok_or_else(|| unknown_language_error(tag))?;
        let Some(browser) = &mut self.browser else { return Ok(self) };
        if browser.languages == *list {
            return Ok(self);
        }
        browser.languages.clone_from(list);
        self.language = Some(tag.to_owned());
        let said = accept_language(list);
        // What it has worn so far was the other language's.
        self.headers.iter_mut().for_each(|headers| headers.cache = TemplateCache::default());
        let fields = self.headers.iter_mut().flat_map(|headers| &mut headers.fields);
        for field in fields.filter(|field| field.name.eq_ignore_ascii_case("accept-language")) {
            if let Some(value) = &mut field.value {
                value.clone_from(&said);
            }
        }
        Ok(self)
    }
}

/// Whether the list of the language `tag` is known.
pub(crate) fn is_language(tag: &str) -> bool {
    lists().contains_key(tag)
}

fn unknown_language_error(tag: &str) -> Error {
    let known: Vec<&str> = lists().keys().map(String::as_str).collect();
    let message = format!(
        "`{}` is no language that rungs knows Chromium's list of",
        crate::redact::escape_terminal(tag)
    );
    Error::new(ErrorKind::Config, message).with_hint(format!("known are {}", known.join(", ")))
}

fn lists() -> &'static BTreeMap<String, Vec<String>> {
    static LISTS: OnceLock<BTreeMap<String, Vec<String>>> = OnceLock::new();
    LISTS.get_or_init(|| {
        let measured: LanguageList = toml::from_str(TEXT).expect("a test reads the shipped file");
        measured.lists
    })
}

#[derive(Deserialize)]
struct LanguageList {
    #[serde(rename = "provenance")]
    _provenance: String,
    lists: BTreeMap<String, Vec<String>>,
}

const TEXT: &str = include_str!("../../profiles/languages.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_set_to_another_language_says_it_everywhere() {
        let profile = Profile::clone(&Profile::named("chrome-156-linux").unwrap());
        let german = profile.clone().with_language("de-DE").unwrap();
        assert_eq!(german.browser.as_ref().unwrap().languages, ["de-DE", "de", "en-US", "en"]);
        let said = |profile: &Profile| -> Vec<String> {
            let fields = profile.headers.iter().flat_map(|headers| &headers.fields);
            let named = fields.filter(|field| field.name.eq_ignore_ascii_case("accept-language"));
            named.filter_map(|field| field.value.clone()).collect()
        };
        assert_eq!(said(&german).len(), said(&profile).len());
        assert!(said(&german).iter().all(|said| said == "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"));
        assert_eq!(profile.clone().with_language("en-US").unwrap(), profile);
        // As heard of Chromium: the header has the language of a region, its scripts have not.
        let canadian = profile.with_language("fr-CA").unwrap();
        assert_eq!(canadian.browser.as_ref().unwrap().languages, ["fr-CA", "en-US", "en"]);
        assert_eq!(said(&canadian)[0], "fr-CA,fr;q=0.9,en-US;q=0.8,en;q=0.7");
    }

    #[test]
    fn every_list_begins_with_its_language() {
        assert!(lists().iter().all(|(tag, list)| list.first() == Some(tag)));
    }

    #[test]
    fn an_unknown_language_is_a_config_error_that_names_the_known() {
        for wrong in ["", "xx", "de_DE", "de,en", "\u{1b}[2J"] {
            let profile = Profile::clone(&Profile::named("plain").unwrap());
            let error = profile.with_language(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.hint().unwrap().contains("de-DE") && !error.to_string().contains('\u{1b}'));
        }
    }
}
