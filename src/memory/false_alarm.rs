//! False alarms of the structural detector: the browser got the page that was refused on a lower tier.

use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::SiteSection;
use super::error::StoreError;
use crate::verdict::VerdictKind;

/// A kind of verdict that was wrong about the pages of a site section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FalseAlarm {
    /// The site section.
    #[serde(flatten)]
    pub section: SiteSection,
    /// The kind.
    #[serde(rename = "verdict")]
    pub kind: VerdictKind,
    /// The size of the page in bytes.
    pub bytes: u64,
    /// When the browser got the page, in seconds since 1970.
    pub seen: i64,
}

impl FalseAlarm {
    /// Whether a page with `bytes` bytes is like the one that the browser got, and that was not long ago.
    pub(crate) fn covers(&self, bytes: u64, now: i64) -> bool {
        let (smallest, largest) = (self.bytes / 2, self.bytes.saturating_mul(2).saturating_add(SIZE_SLACK));
        (smallest..=largest).contains(&bytes) && now.saturating_sub(self.seen) < VALID_FOR
    }

    /// Whether the values are possible. Data from a file is not trusted.
    pub(super) fn is_valid(&self) -> bool {
        self.kind != VerdictKind::Genuine && self.seen >= 0
    }
}

/// Stores false alarms. Of two for the same section and kind, the newer stays. Returns how many were stored.
pub(super) fn store(write: &Transaction<'_>, alarms: &[FalseAlarm]) -> Result<usize, StoreError> {
    let mut stored = 0;
    for FalseAlarm { section: SiteSection { site, path_prefix }, kind, bytes, seen } in alarms {
        stored += write.execute(
            "INSERT INTO false_alarm VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET bytes = excluded.bytes, seen = excluded.seen WHERE excluded.seen > seen",
            params![site, path_prefix, kind.name(), i64::try_from(*bytes).unwrap_or(i64::MAX), seen],
        )?;
    }
    Ok(stored)
}

/// Returns the false alarms of `site`, or of all sites.
pub(super) fn load(connection: &Connection, site: Option<&str>) -> Result<Vec<FalseAlarm>, StoreError> {
    let mut query = connection.prepare(
        "SELECT site, grp, kind, bytes, seen FROM false_alarm
         WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, kind",
    )?;
    let rows = query.query_map([site], parse_row)?.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().flatten().filter(FalseAlarm::is_valid).collect())
}

/// Parses a row. Returns `None` for an unknown kind.
fn parse_row(row: &Row<'_>) -> rusqlite::Result<Option<FalseAlarm>> {
    let name: String = row.get(2)?;
    let Ok(kind) = serde_json::from_value(serde_json::Value::String(name)) else { return Ok(None) };
    let section = SiteSection { site: row.get(0)?, path_prefix: row.get(1)? };
    let bytes = u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
    Ok(Some(FalseAlarm { section, kind, bytes, seen: row.get(4)? }))
}

/// After this many seconds the browser is asked again: a week.
const VALID_FOR: i64 = 7 * 24 * 60 * 60;
/// Number of bytes that a small page may vary.
const SIZE_SLACK: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_size_or_a_week_later_is_not_covered() {
        let section = SiteSection { site: "a.example".to_owned(), path_prefix: "/".to_owned() };
        let alarm = FalseAlarm { section, kind: VerdictKind::Challenge, bytes: 2000, seen: 100 };
        for (bytes, now, covered) in [
            (2000, 100, true),
            (1000, 100, true),
            (999, 100, false),
            (4256, 100, true),
            (4257, 100, false),
            (2000, 99 + VALID_FOR, true),
            (2000, 100 + VALID_FOR, false),
        ] {
            assert_eq!(alarm.covers(bytes, now), covered, "{bytes} {now}");
        }
        assert!(alarm.is_valid() && !FalseAlarm { kind: VerdictKind::Genuine, ..alarm }.is_valid());
    }
}
