//! Dates in `Expires`, as Chromium reads them (RFC 6265bis, 5.1.1).

/// Parses a cookie date into seconds since 1970. Words that are not part of a date, such as weekdays and time zones, are
/// ignored.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter) {
        let number = || token.parse().ok().filter(|_| token.starts_with(|c: char| c.is_ascii_digit()));
        if token.contains(':') && time.is_none() && token.starts_with(|c: char| c.is_ascii_digit()) {
            time = parse_time(token);
        } else if day.is_none() && token.len() <= 2 && number().is_some() {
            day = number();
        } else if year.is_none() && token.len() <= 5 && number().is_some() {
            year = number();
        } else if month.is_none() {
            month = month_number(token);
        }
    }
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    let (day, month, (hours, minutes, seconds)) = (day?, month?, time?);
    let is_valid =
        (1..=days_in_month(year, month)).contains(&day) && hours < 24 && minutes < 60 && seconds < 60;
    is_valid.then(|| days_since_1970(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

fn is_delimiter(c: char) -> bool {
    c == '\t' || (c.is_ascii() && !c.is_ascii_control() && !c.is_ascii_alphanumeric() && c != ':')
}

/// Parses `hours:minutes:seconds`.
fn parse_time(token: &str) -> Option<(i64, i64, i64)> {
    let mut parts = token.split(':').map(|part| {
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| is_number).map(i64::from)
    });
    let time = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(time)
}

fn month_number(token: &str) -> Option<i64> {
    let start = token.get(..3)?;
    (1..).zip(MONTHS).find(|(_, name)| name.eq_ignore_ascii_case(start)).map(|(number, _)| number)
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Counts the days of the Gregorian calendar.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last day of a year.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_in_chromium() {
        let at = Some(784_111_777);
        for (text, want) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", at),
            ("Sunday, 06-Nov-94 08:49:37 GMT", at),
            ("Sun Nov  6 08:49:37 1994", at),
            ("nonsense 08:49:37 6 NOVEMBER 1994 +0300", at),
            ("08:49:37/6/nov/1994", at),
            ("6x 6 nov 1994 8:49:37GMT 008:49:37 5 1:1:1", at),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("29 Feb 2000 00:00:00", Some(951_782_400)),
            ("1 Mar 2100 00:00:00", Some(4_107_542_400)),
            ("1 Jan 69 00:00:00", Some(3_124_224_000)),
            ("1 Jan 1601 00:00:00", Some(-11_644_473_600)),
            ("29 Feb 2001 00:00:00", None),
            ("1 Jan 2030", None),
            ("1 Jan 2030 24:00:00", None),
            ("1 Jan 2030 00:60:00", None),
            ("1 Jan 2030 00:00:60", None),
            ("1 Jan 2030 24:00:00 00:00:00", None),
            ("1 Jan 2030 1:2:3:4", None),
            ("1 Jan 2030 1:+2:3", None),
            ("99 1 Jan 2030 00:00:00", None),
            ("0 Jan 2030 00:00:00", None),
            ("001 Jan 2030 00:00:00", None),
            ("1 2030 00:00:00", None),
            ("32 Jan 2030 00:00:00", None),
            ("1 Jan 203000 00:00:00", None),
            ("", None),
            ("ä Ω 1 Jan", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
    }
}
