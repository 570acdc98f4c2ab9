//! The memory file by itself: shown, cleared, exported and imported.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::error::StoreError;
use super::export;
use super::store::{IdentityRow, Store, TierRow};
use super::tables::SizeRow;
use super::tally::TierStatus;
use super::{Circuit, DecayingTally, MarkupSource, PageSizeModel, SavedIdentityKey, SiteSection, TierMode};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

/// A memory file. Other processes may use it meanwhile.
pub struct MemoryFile {
    store: Store,
    path: PathBuf,
    moved_to: Option<PathBuf>,
}

/// What was seen of one rung in one area. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TierEntry {
    /// Where.
    #[serde(flatten)]
    pub section: SiteSection,
    /// On what.
    pub rung: TierMode,
    /// In which browser's clothes; `plain` on the plain tier.
    pub profile: String,
    /// `works`, `refused`, or `forgotten` when it is too old to count.
    pub state: &'static str,
    /// When a rung that is refused is asked again.
    pub ask_again: Option<i64>,
    /// The counts.
    #[serde(flatten)]
    pub tally: DecayingTally,
}

/// How large the pages of one area are, in one form.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SizeEntry {
    /// Where.
    #[serde(flatten)]
    pub section: SiteSection,
    /// In which form.
    pub form: MarkupSource,
    /// The usual size in bytes, where one can be told: a page of less than a tenth of it is a stub.
    pub usual_bytes: Option<u64>,
    /// What it is told by.
    #[serde(flatten)]
    pub model: PageSizeModel,
}

/// A cleared identity, without its cookies' values.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ClearanceEntry {
    /// The host it is cleared for.
    pub host: String,
    /// Whose it is.
    #[serde(flatten)]
    pub key: SavedIdentityKey,
    /// Whether the clearance got a page on the impersonate tier.
    pub was_used: bool,
    /// Whether it is any good there. When not, the browser keeps the host.
    pub is_portable: bool,
    /// The names of the cookies kept.
    pub cookies: Vec<String>,
    /// When the clearance ends, where a cookie says so; seconds since 1970.
    pub until: Option<i64>,
    /// When it was earned, in seconds since 1970.
    pub learned: i64,
}

impl MemoryFile {
    /// Opens the file, made when it is not there. A damaged one is moved aside, see [`moved`](Self::moved).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a file of a newer rungs or of another program, [`ErrorKind::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let (store, moved) = Store::open(&path).map_err(|fault| fault.into_error(&path))?;
        Ok(Self { store, path, moved_to: moved })
    }

    /// Where the damaged file that was found here is now.
    #[must_use]
    pub fn moved_to(&self) -> Option<&Path> {
        self.moved_to.as_deref()
    }

    /// What was seen of `host`'s site, or of all.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn tiers(&self, host: Option<&str>) -> Result<Vec<TierEntry>> {
        let now = now();
        let lines = self.map_error(self.store.tallies(None))?;
        let of_host = lines.into_iter().filter(|line| host.is_none_or(|host| is_same_site(host, &line.site)));
        Ok(of_host
            .map(|TierRow { site, key: slot, tally }| {
                let (state, ask_again) = match tally.status(now) {
                    TierStatus::Unknown => ("forgotten", None),
                    TierStatus::Works => ("works", None),
                    TierStatus::Refused { retry_at: ask_again } => ("refused", Some(ask_again)),
                };
                let area = SiteSection { site, path_prefix: slot.path_prefix };
                TierEntry { section: area, rung: slot.mode, profile: slot.profile, state, ask_again, tally }
            })
            .collect())
    }

    /// How large the pages of `host`'s site are, or of all.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn page_sizes(&self, host: Option<&str>) -> Result<Vec<SizeEntry>> {
        let pages = self.map_error(self.store.page_sizes(None))?;
        let of_host =
            pages.into_iter().filter(|pages| host.is_none_or(|host| is_same_site(host, &pages.site)));
        Ok(of_host
            .map(|SizeRow { site, path_prefix: group, form, model: usual }| SizeEntry {
                section: SiteSection { site, path_prefix: group },
                form,
                usual_bytes: usual.bytes(),
                model: usual,
            })
            .collect())
    }

    /// Which hosts of `host`'s site are left alone because they fail, or all.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn circuits(&self, host: Option<&str>) -> Result<Vec<Circuit>> {
        let mut circuits = self.map_error(self.store.circuits(None, now()))?;
        circuits.retain(|circuit| host.is_none_or(|host| is_same_site(host, &circuit.host)));
        Ok(circuits)
    }

    /// Who is cleared for `host`, or for any.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn clearances(&self, host: Option<&str>) -> Result<Vec<ClearanceEntry>> {
        let held = self.map_error(self.store.identities())?;
        let of_host = held.into_iter().filter(|held| host.is_none_or(|host| is_same_site(host, &held.host)));
        Ok(of_host
            .map(|IdentityRow { host, key: who, identity: saved, .. }| ClearanceEntry {
                host,
                key: who,
                was_used: saved.note.was_used,
                is_portable: saved.note.is_portable,
                cookies: saved.cookies.into_iter().map(|cookie| cookie.name).collect(),
                until: saved.note.clearance.until,
                learned: saved.note.learned,
            })
            .collect())
    }

    /// Forgets `host`'s site and all its hosts, or everything. How many lines went.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn clear(&mut self, host: Option<&str>) -> Result<usize> {
        let gone = self.store.clear(|name| host.is_none_or(|host| is_same_site(host, name)));
        let gone = self.map_error(gone)?;
        self.map_error(self.store.truncate_journal())?;
        Ok(gone)
    }

    /// Writes all of it but the circuits as lines of JSON, **cookies with their values**. How many lines.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn export(&self, out: &mut impl Write) -> Result<usize> {
        export::write(out, self.map_error(self.store.snapshot())?)
            .map_err(|cause| Error::new(ErrorKind::Io, "could not write the export").with_source(cause))
    }

    /// Reads what [`export`](Self::export) wrote, all of it or nothing: of two lines about the same thing the
    /// newer stays. How many were news.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the line that is wrong, [`ErrorKind::Io`].
    pub fn import(&mut self, input: &mut impl BufRead) -> Result<usize> {
        let now = now();
        let contents = export::read(input, now)?;
        let news = self.store.import(&contents, now);
        self.map_error(news)
    }

    fn map_error<T>(&self, done: std::result::Result<T, StoreError>) -> Result<T> {
        done.map_err(|fault| fault.into_error(&self.path))
    }
}

impl std::fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notebook").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Whether `name`, a site or a host, is of the same site as `host`, typed by the user: by name, and with
/// its port where one is given.
fn is_same_site(host: &str, name: &str) -> bool {
    let area = |text: &str| {
        let url = url::Url::parse(&format!("https://{text}/")).ok()?;
        let port = url.port();
        Some((SiteSection::from_url(&url).site, port))
    };
    match (area(host), area(name)) {
        (Some((typed, Some(_))), Some((known, Some(_)))) => typed == known,
        // A port that one of them does not name is no difference.
        (Some((typed, _)), Some((known, _))) => without_port(&typed) == without_port(&known),
        _ => host == name,
    }
}

fn without_port(site: &str) -> &str {
    match site.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => site,
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_concerns_its_whole_site_and_no_other() {
        for (host, name, concerned) in [
            ("shop.example", "shop.example", true),
            ("www.shop.example", "shop.example", true),
            ("shop.example", "www.shop.example", true),
            ("shop.example", "shop.example:8443", true),
            ("shop.example:8443", "shop.example:8443", true),
            ("shop.example:8443", "shop.example:8444", false),
            ("shop.example", "myshop.example", false),
            ("127.0.0.1", "127.0.0.1:80", true),
            ("[::1]", "[::1]:8080", true),
            ("Shop.Example", "shop.example", true),
        ] {
            assert_eq!(is_same_site(host, name), concerned, "{host} {name}");
        }
    }
}
