//! Shows, clears, exports and imports the memory file without a fetcher.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::super::memory_tables;
use super::super::site_section::SiteSection;
use super::super::time::now;
use super::error::StoreError;
use super::export;
use super::store::Store;
use super::table::{NameFilter, Section};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// A memory file. Other processes may use it at the same time.
pub struct MemoryFile {
    store: Store,
    path: PathBuf,
    moved_to: Option<PathBuf>,
}

impl MemoryFile {
    /// Opens the file, or creates it if it is missing. Moves a corrupt file aside, see
    /// [`moved_to`](Self::moved_to).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a newer rungs or another program wrote the file, [`ErrorKind::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let (store, moved_to) =
            Store::open(&path, &memory_tables(None)).map_err(|error| error.into_error(&path))?;
        Ok(Self { store, path, moved_to })
    }

    /// Returns the new path of the corrupt file that [`open`](Self::open) moved aside.
    #[must_use]
    pub fn moved_to(&self) -> Option<&Path> {
        self.moved_to.as_deref()
    }

    /// Returns all rows of `host`'s site, or of all sites, by kind.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn sections(&self, host: Option<&str>) -> Result<Vec<Section>> {
        self.read(host, |connection, matches, now| {
            memory_tables(None).iter().map(|table| table.show(connection, matches, now)).collect()
        })
    }

    /// Returns the sections of a memory without rows.
    #[must_use]
    pub fn empty_sections() -> Vec<Section> {
        memory_tables(None).iter().map(|table| Section::empty(table.spec())).collect()
    }

    /// Reads the rows of `host`'s site, or of all sites.
    pub(in crate::memory) fn read<T>(
        &self,
        host: Option<&str>,
        read: impl FnOnce(&Connection, NameFilter<'_>, i64) -> std::result::Result<T, StoreError>,
    ) -> Result<T> {
        let matches = |name: &str| host.is_none_or(|host| is_same_site(host, name));
        self.map_error(read(self.store.connection(), &matches, now()))
    }

    /// Deletes `host`'s site and all its hosts, or everything. Returns the number of deleted rows.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn clear(&mut self, host: Option<&str>) -> Result<usize> {
        let deleted =
            self.store.clear(&memory_tables(None), &|name| host.is_none_or(|host| is_same_site(host, name)));
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
        let mut lines = Vec::new();
        for table in memory_tables(None).iter() {
            lines.append(&mut self.map_error(table.export(self.store.connection()))?);
        }
        export::write(out, &lines)
            .map_err(|cause| Error::new(ErrorKind::Io, "could not write the export").with_source(cause))?;
        Ok(lines.len())
    }

    /// Imports what [`export`](Self::export) wrote, completely or not at all. The newer of two rows with the same
    /// key is kept. Returns the number of rows that were stored.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the line, if the input is invalid, [`ErrorKind::Io`].
    pub fn import(&mut self, input: &mut impl BufRead) -> Result<usize> {
        let now = now();
        let mut tables = memory_tables(None);
        export::read(input, &mut tables, now)?;
        let stored = self.store.import(&mut tables, now);
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
