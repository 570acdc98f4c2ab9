//! False alarms of the structural detector: the browser got the page that was refused on a lower tier.

#[cfg(feature = "memory")]
mod table;

use std::collections::HashMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::{HostMemory, SiteSection, make_room};
use crate::exchange::verdict::VerdictKind;
use crate::os::sync::lock_unpoisoned;

#[cfg(feature = "memory")]
pub(super) use table::{FalseAlarmTable, load};

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

/// The false alarms of this process, by site: at most one per path prefix and kind.
#[derive(Default)]
pub(super) struct FalseAlarmCache(Mutex<HashMap<String, Vec<FalseAlarm>>>);

impl FalseAlarmCache {
    /// Adds false alarms. Of two for the same section and kind, the newer stays.
    pub(super) fn add(&self, alarms: Vec<FalseAlarm>) {
        let mut sites = lock_unpoisoned(&self.0);
        for alarm in alarms {
            let known = make_room(&mut sites).entry(alarm.section.site.clone()).or_default();
            let is_same = |known: &FalseAlarm| known.section == alarm.section && known.kind == alarm.kind;
            if let Some(same) = known.iter_mut().find(|known| is_same(known)) {
                if same.seen < alarm.seen {
                    *same = alarm;
                }
                continue;
            }
            if known.len() >= MAX_CACHED {
                known.remove(0);
            }
            known.push(alarm);
        }
    }
}

impl HostMemory {
    /// Whether the browser got a page like this one, of `bytes` bytes, that was classified as `kind` too.
    pub(crate) fn is_false_alarm(&self, section: &SiteSection, kind: VerdictKind, bytes: u64) -> bool {
        let now = self.now();
        lock_unpoisoned(&self.false_alarms.0).get(&section.site).is_some_and(|alarms| {
            let is_same = |alarm: &FalseAlarm| alarm.section == *section && alarm.kind == kind;
            alarms.iter().any(|alarm| is_same(alarm) && alarm.covers(bytes, now))
        })
    }

    /// Records that the browser got a page that a lower tier refused as `kind`.
    pub(crate) fn record_false_alarm(&self, section: &SiteSection, kind: VerdictKind, bytes: u64) {
        let alarm = FalseAlarm { section: section.clone(), kind, bytes, seen: self.now() };
        self.false_alarms.add(vec![alarm.clone()]);
        #[cfg(feature = "memory")]
        if let Some(store) = &self.store {
            store.change(|table: &mut FalseAlarmTable| table.add(alarm));
        }
    }
}

/// Maximum number of false alarms per site in the cache.
const MAX_CACHED: usize = 100;
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
