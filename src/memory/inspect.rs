//! Shows, clears, exports and imports the memory file without a fetcher.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::error::StoreError;
use super::export;
use super::store::{IdentityRow, Store, TierRow};
use super::tables::SizeRow;
use super::tally::TierStatus;
use super::{
    Circuit, DecayingTally, FalseAlarm, MarkupSource, PageSizeModel, SavedIdentityKey, SiteSection, TierMode,
};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

/// A memory file. Other processes may use it at the same time.
pub struct MemoryFile {
    store: Store,
    path: PathBuf,
    moved_to: Option<PathBuf>,
}

/// Results of one tier mode in one site section. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TierEntry {
    /// The site section.
    #[serde(flatten)]
    pub section: SiteSection,
    /// The tier mode.
    #[serde(rename = "rung")]
    pub mode: TierMode,
    /// The browser profile; `plain` on the plain tier.
    pub profile: String,
    /// `works`, `refused`, or `forgotten` if the results have decayed.
    pub state: &'static str,
    /// When a refused tier is probed.
    #[serde(rename = "ask_again")]
    pub retry_at: Option<i64>,
    /// The counts.
    #[serde(flatten)]
    pub tally: DecayingTally,
}

/// The page sizes of one site section, in one markup form.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SizeEntry {
    /// The site section.
    #[serde(flatten)]
    pub section: SiteSection,
    /// The markup that was measured.
    pub form: MarkupSource,
    /// The usual size in bytes, if known. A page of less than a tenth of it is a stub.
    pub usual_bytes: Option<u64>,
    /// The model behind the usual size.
    #[serde(flatten)]
    pub model: PageSizeModel,
}

/// A cleared identity, without the values of its cookies.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ClearanceEntry {
    /// The host that the identity is cleared for.
    pub host: String,
    /// The key of the identity.
    #[serde(flatten)]
    pub key: SavedIdentityKey,
    /// Whether the clearance got a page on the impersonate tier.
    #[serde(rename = "proven")]
    pub was_used: bool,
    /// Whether the impersonate tier can use it. If not, the host stays on the browser tier.
    #[serde(rename = "moves")]
    pub is_portable: bool,
    /// The names of the stored cookies.
    pub cookies: Vec<String>,
    /// When the clearance expires, if a cookie has an expiry; seconds since 1970.
    pub until: Option<i64>,
    /// When the clearance state last changed, in seconds since 1970.
    pub learned: i64,
}

impl MemoryFile {
    /// Opens the file, or creates it if it is missing. Moves a corrupt file aside, see
    /// [`moved_to`](Self::moved_to).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a newer rungs or another program wrote the file, [`ErrorKind::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let (store, moved_to) = Store::open(&path).map_err(|error| error.into_error(&path))?;
        Ok(Self { store, path, moved_to })
    }

    /// Returns the new path of the corrupt file that [`open`](Self::open) moved aside.
    #[must_use]
    pub fn moved_to(&self) -> Option<&Path> {
        self.moved_to.as_deref()
    }

    /// Returns the tier statistics of `host`'s site, or of all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn tiers(&self, host: Option<&str>) -> Result<Vec<TierEntry>> {
        let now = now();
        let rows = self.map_error(self.store.tallies(None))?;
        let matching = rows.into_iter().filter(|row| host.is_none_or(|host| is_same_site(host, &row.site)));
        Ok(matching
            .map(|TierRow { site, key, tally }| {
                let (state, ask_again) = match tally.status(now) {
                    TierStatus::Unknown => ("forgotten", None),
                    TierStatus::Works => ("works", None),
                    TierStatus::Refused { retry_at } => ("refused", Some(retry_at)),
                };
                let section = SiteSection { site, path_prefix: key.path_prefix };
                TierEntry { section, mode: key.mode, profile: key.profile, state, retry_at: ask_again, tally }
            })
            .collect())
    }

    /// Returns the page sizes of `host`'s site, or of all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn page_sizes(&self, host: Option<&str>) -> Result<Vec<SizeEntry>> {
        let rows = self.map_error(self.store.page_sizes(None))?;
        let matching = rows.into_iter().filter(|row| host.is_none_or(|host| is_same_site(host, &row.site)));
        Ok(matching
            .map(|SizeRow { site, path_prefix, form, model }| SizeEntry {
                section: SiteSection { site, path_prefix },
                form,
                usual_bytes: model.bytes(),
                model,
            })
            .collect())
    }

    /// Returns the false alarms of `host`'s site, or of all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn false_alarms(&self, host: Option<&str>) -> Result<Vec<FalseAlarm>> {
        let mut alarms = self.map_error(self.store.false_alarms(None))?;
        alarms.retain(|alarm| host.is_none_or(|host| is_same_site(host, &alarm.section.site)));
        Ok(alarms)
    }

    /// Returns the open circuits of the hosts of `host`'s site, or of all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn circuits(&self, host: Option<&str>) -> Result<Vec<Circuit>> {
        let mut circuits = self.map_error(self.store.circuits(None, now()))?;
        circuits.retain(|circuit| host.is_none_or(|host| is_same_site(host, &circuit.host)));
        Ok(circuits)
    }

    /// Returns the cleared identities for `host`'s site, or for all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn clearances(&self, host: Option<&str>) -> Result<Vec<ClearanceEntry>> {
        let rows = self.map_error(self.store.identities())?;
        let matching = rows.into_iter().filter(|row| host.is_none_or(|host| is_same_site(host, &row.host)));
        Ok(matching
            .map(|IdentityRow { host, key, identity, .. }| ClearanceEntry {
                host,
                key,
                was_used: identity.state.was_used,
                is_portable: identity.state.is_portable,
                cookies: identity.cookies.into_iter().map(|cookie| cookie.name).collect(),
                until: identity.state.clearance.until,
                learned: identity.state.learned,
            })
            .collect())
    }

    /// Deletes `host`'s site and all its hosts, or everything. Returns the number of deleted rows.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn clear(&mut self, host: Option<&str>) -> Result<usize> {
        let deleted = self.store.clear(|name| host.is_none_or(|host| is_same_site(host, name)));
        let deleted = self.map_error(deleted)?;
        self.map_error(self.store.truncate_journal())?;
        Ok(deleted)
    }

    /// Writes everything except the circuits as JSON Lines, **including cookie values**. Returns the number of
    /// rows.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn export(&self, out: &mut impl Write) -> Result<usize> {
        export::write(out, self.map_error(self.store.snapshot())?)
            .map_err(|cause| Error::new(ErrorKind::Io, "could not write the export").with_source(cause))
    }

    /// Imports what [`export`](Self::export) wrote, completely or not at all. The newer of two rows with the same
    /// key is kept. Returns the number of rows that were stored.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the line, if the input is invalid, [`ErrorKind::Io`].
    pub fn import(&mut self, input: &mut impl BufRead) -> Result<usize> {
        let now = now();
        let snapshot = export::read(input, now)?;
        let stored = self.store.import(&snapshot, now);
        self.map_error(stored)
    }

    fn map_error<T>(&self, result: std::result::Result<T, StoreError>) -> Result<T> {
        result.map_err(|error| error.into_error(&self.path))
    }
}

impl std::fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Whether `name`, a stored site or host, belongs to the same site as `host`, which the user typed. Ports are
/// compared only if both have one.
fn is_same_site(host: &str, name: &str) -> bool {
    let site_and_port = |text: &str| {
        let url = url::Url::parse(&format!("https://{text}/")).ok()?;
        let port = url.port();
        Some((SiteSection::from_url(&url).site, port))
    };
    match (site_and_port(host), site_and_port(name)) {
        (Some((typed, Some(_))), Some((known, Some(_)))) => typed == known,
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
    fn a_host_matches_its_whole_site_and_no_other() {
        for (host, name, matches) in [
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
            assert_eq!(is_same_site(host, name), matches, "{host} {name}");
        }
    }
}
