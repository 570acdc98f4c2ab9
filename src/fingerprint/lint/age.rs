//! Dates, and how old a profile may be.

use super::Diagnostics;
use crate::fingerprint::profile::Profile;

/// A day of the Gregorian calendar, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(i64);

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Years start in March here, so that the leap day is the last day of a year.
        let days = self.0 + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, late) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        write!(f, "{:04}-{month:02}-{day:02}", year + era * 400 + late)
    }
}

impl Date {
    /// The day of a system time, in UTC.
    #[must_use]
    pub fn from_system_time(time: std::time::SystemTime) -> Self {
        let seconds = time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self(i64::try_from(seconds / SECONDS_A_DAY).unwrap_or(i64::MAX))
    }

    /// Parses `YYYY-MM-DD`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |digits: &str| {
            digits.bytes().try_fold(0_i64, |sum, digit| {
                digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
            })
        };
        let mut parts = text.split('-');
        let mut part = |len: usize| parts.next().filter(|digits| digits.len() == len).and_then(number);
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        if parts.next().is_some() {
            return None;
        }
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let longest = match month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            _ => return None,
        };
        if !(1..=longest).contains(&day) {
            return None;
        }
        // Years that start in March have their leap day last.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        Some(Self(days + (153 * month + 2) / 5 + day - 1 - DAYS_TO_1970))
    }

    /// Whole weeks from `earlier` to this day.
    #[must_use]
    pub const fn weeks_since(self, earlier: Self) -> i64 {
        (self.0 - earlier.0) / 7
    }
}

/// The limits against which a profile's age is checked.
#[derive(Clone, Copy, Debug)]
pub struct AgePolicy {
    /// The current day.
    pub today: Date,
    /// The major version of the installed browser, if there is one.
    pub installed_major: Option<u32>,
    /// The number of weeks after which a capture is outdated.
    pub max_weeks: u32,
}

impl AgePolicy {
    /// Weeks after which a capture is outdated: Chrome releases about six versions in that time.
    pub const DEFAULT_MAX_WEEKS: u32 = 26;
}

pub(super) fn check(profile: &Profile, policy: &AgePolicy, diagnostics: &mut Diagnostics) {
    let from = &profile.provenance;
    let Some(captured) = Date::parse(&from.captured) else {
        return diagnostics.error("date", "provenance.captured", "is not a date of the form YYYY-MM-DD");
    };
    if captured > Date(policy.today.0.saturating_add(1)) {
        return diagnostics.error("date", "provenance.captured", "is in the future");
    }
    // A client that does not imitate a browser does not age.
    let Some(browser) = &profile.browser else { return };
    let weeks = policy.today.weeks_since(captured);
    if weeks > i64::from(policy.max_weeks) {
        let message =
            format!("is {weeks} weeks ago; capture the profile again (limit: {} weeks)", policy.max_weeks);
        diagnostics.warning("expired", "provenance.captured", message);
    }
    if let (Some(claimed), Some(installed)) =
        (super::identity::chrome_major(&browser.user_agent), policy.installed_major)
        && claimed.saturating_add(MAX_MAJORS_BEHIND) < installed
    {
        let message = format!(
            "is {claimed}, but the installed browser is {installed}: more than {MAX_MAJORS_BEHIND} major \
             versions newer"
        );
        diagnostics.warning("expired", "browser.user_agent", message);
    }
}

const SECONDS_A_DAY: u64 = 24 * 60 * 60;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
/// How many major versions behind the installed browser are still common on the web.
const MAX_MAJORS_BEHIND: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        for (text, day) in [
            ("1970-01-01", 0),
            ("1970-03-01", 59),
            ("2000-02-29", 11_016),
            ("2000-03-01", 11_017),
            ("2026-11-21", 20_778),
        ] {
            assert_eq!(Date::parse(text), Some(Date(day)), "{text}");
        }
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(20_778 * SECONDS_A_DAY + 5);
        assert_eq!(Date::from_system_time(time), Date(20_778));
    }

    #[test]
    fn invalid_dates_are_none() {
        for text in ["", "2026-11-31", "2025-02-29", "1900-02-29", "2026-13-01", "2026-00-10", "2026-1-1"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
        for text in ["2026-11-2x", "2026-11-21-", "2026-11-21T", "２６-11-21", "+026-11-21"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }
}
