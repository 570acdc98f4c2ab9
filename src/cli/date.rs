//! Dates as curl reads them for `-z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Parses a date, such as `Sun, 06 Nov 1994 08:49:37 GMT`, `6 Nov 1994`, `19941106`, `1994-11-06` or
/// `1994-11-06T08:49:37Z`. Without a time it is midnight, without a time zone UTC. `None` if a part is missing or wrong.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    if let Ok(date) = httpdate::parse_http_date(text) {
        return Some(date);
    }
    let (mut date, rest) = parse_iso(text).unwrap_or((DateParts::default(), text));
    for word in rest.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        date.read(word)?;
    }
    date.to_time()
}

#[derive(Default)]
struct DateParts {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    /// Seconds since midnight.
    time: Option<i64>,
    /// Seconds east of UTC.
    zone: Option<i64>,
}

impl DateParts {
    fn read(&mut self, word: &str) -> Option<()> {
        let lower = word.to_ascii_lowercase();
        if word.contains(':') {
            let word = word.trim_end_matches('Z');
            let at = word.find(['+', '-']).unwrap_or(word.len());
            set(&mut self.time, parse_time(&word[..at])?)?;
            return if at < word.len() { set(&mut self.zone, parse_zone(&word[at..])?) } else { Some(()) };
        }
        if word.starts_with(['+', '-']) && self.time.is_some() {
            return set(&mut self.zone, parse_zone(word)?);
        }
        if let Ok(number) = word.parse::<i64>() {
            if word.len() == 8 {
                set(&mut self.year, number / 10_000)?;
                set(&mut self.month, number / 100 % 100)?;
                return set(&mut self.day, number % 100);
            }
            return if self.day.is_none() && (1..=31).contains(&number) {
                set(&mut self.day, number)
            } else {
                set(&mut self.year, number)
            };
        }
        if lower.len() >= 3 && WEEKDAYS.iter().any(|name| name.starts_with(&lower)) {
            return Some(());
        }
        if let Some(at) = MONTHS.iter().position(|name| lower.len() >= 3 && name.starts_with(&lower)) {
            return set(&mut self.month, i64::try_from(at).ok()? + 1);
        }
        let (_, hours) = ZONES.iter().find(|(name, _)| *name == lower)?;
        set(&mut self.zone, hours * 3600)
    }

    fn to_time(&self) -> Option<SystemTime> {
        let (year, month, day) = (self.year?, self.month?, self.day?);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1583..=9999).contains(&year) || !(1..=last).contains(&day) {
            return None;
        }
        // Howard Hinnant, days_from_civil.
        let year = if month <= 2 { year - 1 } else { year };
        let (era, of_era) = (year / 400, year % 400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        let seconds = days * 86_400 + self.time.unwrap_or(0) - self.zone.unwrap_or(0);
        UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
    }
}

/// Sets a part once.
fn set(part: &mut Option<i64>, value: i64) -> Option<()> {
    if part.is_some() {
        return None;
    }
    *part = Some(value);
    Some(())
}

/// Parses `YYYY-MM-DD`. Returns the text after it.
fn parse_iso(text: &str) -> Option<(DateParts, &str)> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let rest = rest.strip_prefix('T').unwrap_or(rest);
    let mut numbers = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some((DateParts { year: Some(year), month: Some(month), day: Some(day), ..DateParts::default() }, rest))
}

fn parse_time(text: &str) -> Option<i64> {
    let mut numbers = text.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute) = (numbers.next()??, numbers.next()??);
    let second = numbers.next().unwrap_or(Some(0))?;
    let is_valid = numbers.next().is_none()
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    is_valid.then_some(hour * 3600 + minute * 60 + second)
}

/// Parses `+HHMM` or `+HH:MM`.
fn parse_zone(text: &str) -> Option<i64> {
    let digits = text.get(1..)?.replace(':', "");
    let number = digits.parse::<i64>().ok().filter(|number| digits.len() == 4 && *number <= 1400)?;
    let seconds = number / 100 * 3600 + number % 100 * 60;
    Some(if text.starts_with('-') { -seconds } else { seconds })
}

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
/// Time zones and their hours east of UTC.
const ZONES: [(&str, i64); 15] = [
    ("gmt", 0),
    ("utc", 0),
    ("ut", 0),
    ("z", 0),
    ("wet", 0),
    ("cet", 1),
    ("cest", 2),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mst", -7),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_by_curl() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("1 Jan 2020", "Wed, 01 Jan 2020 00:00:00 GMT"),
            ("Jan 1 2020 10:11", "Wed, 01 Jan 2020 10:11:00 GMT"),
            ("20200102 10:11", "Thu, 02 Jan 2020 10:11:00 GMT"),
            ("29 February 2024 23:59:60 +0100", "Thu, 29 Feb 2024 23:00:00 GMT"),
            ("Thu, 1 Jan 2004 00:00:00 EST", "Thu, 01 Jan 2004 05:00:00 GMT"),
            ("2020-01-02", "Thu, 02 Jan 2020 00:00:00 GMT"),
            ("2020-01-02T10:11:12Z", "Thu, 02 Jan 2020 10:11:12 GMT"),
            ("2020-01-02T10:11:12-02:00", "Thu, 02 Jan 2020 12:11:12 GMT"),
        ] {
            assert_eq!(parse(text).map(httpdate::fmt_http_date).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "nonsense",
            "1 Jan",
            "30 Feb 2020",
            "1 Jan 2020 25:00",
            "1 Jan 2020 2021",
            "ü",
            "9999999999-1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
