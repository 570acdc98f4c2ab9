//! Browser languages: the language lists that Chromium sends, as recorded.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use super::derive::accept_language;
use super::header_template::TemplateCache;
use super::profile::Profile;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

impl Profile {
    /// Returns the same browser set to the language `tag`, for example `de-DE`: in its headers and for its
    /// scripts. In a separate context (as in an incognito window), Chromium builds the list itself. Both
    /// tiers can therefore use only languages whose list is known.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when Chromium's list for the language is not known.
    pub fn with_language(mut self, tag: &str) -> Result<Self> {
        let list = lists().get(tag).ok_or_else(|| unknown_language_error(tag))?;
        let Some(browser) = &mut self.browser else { return Ok(self) };
        if browser.languages == *list {
            return Ok(self);
        }
        browser.languages.clone_from(list);
        self.language = Some(tag.to_owned());
        let header = accept_language(list);
        // The compiled fields still contain the previous language.
        self.headers.iter_mut().for_each(|headers| headers.cache = TemplateCache::default());
        let fields = self.headers.iter_mut().flat_map(|headers| &mut headers.fields);
        for field in fields.filter(|field| field.name.eq_ignore_ascii_case("accept-language")) {
            if let Some(value) = &mut field.value {
                value.clone_from(&header);
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
        "unknown language `{}`: rungs has no record of Chromium's language list for it",
        crate::text::redact::escape_terminal(tag)
    );
    Error::new(ErrorKind::Config, message).with_hint(format!("use one of {}", known.join(", ")))
}

fn lists() -> &'static BTreeMap<String, Vec<String>> {
    static LISTS: OnceLock<BTreeMap<String, Vec<String>>> = OnceLock::new();
    LISTS.get_or_init(|| {
        let file: LanguageList = toml::from_str(TEXT).expect("a test parses the shipped file");
        file.lists
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
    fn with_language_changes_every_header_and_navigator_languages() {
        let profile = Profile::clone(&Profile::named("chrome-156-linux").unwrap());
        let german = profile.clone().with_language("de-DE").unwrap();
        assert_eq!(german.browser.as_ref().unwrap().languages, ["de-DE", "de", "en-US", "en"]);
        let accept_languages = |profile: &Profile| -> Vec<String> {
            let fields = profile.headers.iter().flat_map(|headers| &headers.fields);
            let named = fields.filter(|field| field.name.eq_ignore_ascii_case("accept-language"));
            named.filter_map(|field| field.value.clone()).collect()
        };
        assert_eq!(accept_languages(&german).len(), accept_languages(&profile).len());
        assert!(accept_languages(&german).iter().all(|value| value == "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"));
        assert_eq!(profile.clone().with_language("en-US").unwrap(), profile);
        // As recorded from Chromium: the header adds a region's language, `navigator.languages` does not.
        let canadian = profile.with_language("fr-CA").unwrap();
        assert_eq!(canadian.browser.as_ref().unwrap().languages, ["fr-CA", "en-US", "en"]);
        assert_eq!(accept_languages(&canadian)[0], "fr-CA,fr;q=0.9,en-US;q=0.8,en;q=0.7");
    }

    #[test]
    fn every_list_begins_with_its_language() {
        assert!(lists().iter().all(|(tag, list)| list.first() == Some(tag)));
    }

    #[test]
    fn an_unknown_language_is_a_config_error_that_lists_the_known_ones() {
        for wrong in ["", "xx", "de_DE", "de,en", "\u{1b}[2J"] {
            let profile = Profile::clone(&Profile::named("plain").unwrap());
            let error = profile.with_language(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.hint().unwrap().contains("de-DE") && !error.to_string().contains('\u{1b}'));
        }
    }
}
