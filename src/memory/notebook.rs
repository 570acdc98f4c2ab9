//! The memory file by itself: shown, cleared, exported and imported.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::fault::Fault;
use super::line;
use super::store::{Held, Line, Store};
use super::tables::Pages;
use super::tally::Known;
use super::{Area, Circuit, Form, Rung, Tally, Usual, Who};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;

/// A memory file. Other processes may use it meanwhile.
pub struct Notebook {
    store: Store,
    path: PathBuf,
    moved: Option<PathBuf>,
}

/// What was seen of one rung in one area. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Seen {
    /// Where.
    #[serde(flatten)]
    pub area: Area,
    /// On what.
    pub rung: Rung,
    /// In which browser's clothes; `plain` on the plain tier.
    pub profile: String,
    /// `works`, `refused`, or `forgotten` when it is too old to count.
    pub state: &'static str,
    /// When a rung that is refused is asked again.
    pub ask_again: Option<i64>,
    /// The counts.
    #[serde(flatten)]
    pub tally: Tally,
}

/// How large the pages of one area are, in one form.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Sizes {
    /// Where.
    #[serde(flatten)]
    pub area: Area,
    /// In which form.
    pub form: Form,
    /// The usual size in bytes, where one can be told: a page of less than a tenth of it is a stub.
    pub usual_bytes: Option<u64>,
    /// What it is told by.
    #[serde(flatten)]
    pub sizes: Usual,
}

/// A cleared identity, without its cookies' values.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Cleared {
    /// The host it is cleared for.
    pub host: String,
    /// Whose it is.
    #[serde(flatten)]
    pub who: Who,
    /// Whether the clearance got a page on the impersonate tier.
    pub proven: bool,
    /// Whether it is any good there. When not, the browser keeps the host.
    pub moves: bool,
    /// The names of the cookies kept.
    pub cookies: Vec<String>,
    /// When the clearance ends, where a cookie says so; seconds since 1970.
    pub until: Option<i64>,
    /// When it was earned, in seconds since 1970.
    pub learned: i64,
}

impl Notebook {
    /// Opens the file, made when it is not there. A damaged one is moved aside, see [`moved`](Self::moved).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a file of a newer rungs or of another program, [`ErrorKind::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let (store, moved) = Store::open(&path).map_err(|fault| fault.at(&path))?;
        Ok(Self { store, path, moved })
    }

    /// Where the damaged file that was found here is now.
    #[must_use]
    pub fn moved(&self) -> Option<&Path> {
        self.moved.as_deref()
    }

    /// What was seen of `host`'s site, or of all.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn seen(&self, host: Option<&str>) -> Result<Vec<Seen>> {
        let now = now();
        let lines = self.done(self.store.evidence(None))?;
        let of_host = lines.into_iter().filter(|line| host.is_none_or(|host| concerns(host, &line.site)));
        Ok(of_host
            .map(|Line { site, slot, tally }| {
                let (state, ask_again) = match tally.known(now) {
                    Known::Nothing => ("forgotten", None),
                    Known::Works => ("works", None),
                    Known::Refused { ask_again } => ("refused", Some(ask_again)),
                };
                let area = Area { site, group: slot.group };
                Seen { area, rung: slot.rung, profile: slot.profile, state, ask_again, tally }
            })
            .collect())
    }

    /// How large the pages of `host`'s site are, or of all.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn sized(&self, host: Option<&str>) -> Result<Vec<Sizes>> {
        let pages = self.done(self.store.usual(None))?;
        let of_host = pages.into_iter().filter(|pages| host.is_none_or(|host| concerns(host, &pages.site)));
        Ok(of_host
            .map(|Pages { site, group, form, usual }| Sizes {
                area: Area { site, group },
                form,
                usual_bytes: usual.bytes(),
                sizes: usual,
            })
            .collect())
    }

    /// Which hosts of `host`'s site are left alone because they fail, or all.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn circuits(&self, host: Option<&str>) -> Result<Vec<Circuit>> {
        let mut circuits = self.done(self.store.circuits(None, now()))?;
        circuits.retain(|circuit| host.is_none_or(|host| concerns(host, &circuit.host)));
        Ok(circuits)
    }

    /// Who is cleared for `host`, or for any.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn cleared(&self, host: Option<&str>) -> Result<Vec<Cleared>> {
        let held = self.done(self.store.all_held())?;
        let of_host = held.into_iter().filter(|held| host.is_none_or(|host| concerns(host, &held.host)));
        Ok(of_host
            .map(|Held { host, who, saved, .. }| Cleared {
                host,
                who,
                proven: saved.note.proven,
                moves: saved.note.moves,
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
        let gone = self.store.clear(|name| host.is_none_or(|host| concerns(host, name)));
        let gone = self.done(gone)?;
        self.done(self.store.sweep())?;
        Ok(gone)
    }

    /// Writes all of it but the circuits as lines of JSON, **cookies with their values**. How many lines.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn export(&self, out: &mut impl Write) -> Result<usize> {
        line::write(out, self.done(self.store.contents())?)
            .map_err(|cause| Error::new(ErrorKind::Io, "could not write the export").with_source(cause))
    }

    /// Reads what [`export`](Self::export) wrote, all of it or nothing: of two lines about the same thing the
    /// newer stays. How many were news.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the line that is wrong, [`ErrorKind::Io`].
    pub fn import(&mut self, input: &mut impl BufRead) -> Result<usize> {
        let now = now();
        let contents = line::read(input, now)?;
        let news = self.store.import(&contents, now);
        self.done(news)
    }

    fn done<T>(&self, done: std::result::Result<T, Fault>) -> Result<T> {
        done.map_err(|fault| fault.at(&self.path))
    }
}

impl std::fmt::Debug for Notebook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notebook").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Whether `name`, a site or a host, is of the same site as `host`, typed by the user: by name, and with
/// its port where one is given.
fn concerns(host: &str, name: &str) -> bool {
    let area = |text: &str| {
        let url = url::Url::parse(&format!("https://{text}/")).ok()?;
        let port = url.port();
        Some((Area::of(&url).site, port))
    };
    match (area(host), area(name)) {
        (Some((typed, Some(_))), Some((known, Some(_)))) => typed == known,
        // A port that one of them does not name is no difference.
        (Some((typed, _)), Some((known, _))) => bare(&typed) == bare(&known),
        _ => host == name,
    }
}

fn bare(site: &str) -> &str {
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
            assert_eq!(concerns(host, name), concerned, "{host} {name}");
        }
    }
}
