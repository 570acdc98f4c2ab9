//! Values with a unit, as in targets: `30s`, `2/s`, `10M`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration with its unit: `500ms`, `30s`, `2m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

/// A rate: `2/s`, `30/m`, `1/5s`, `100/h`. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per: Duration,
}

/// A number of bytes: `500000`, `10k`, `5M`, `1G`, in powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl Rate {
    /// Creates a rate of `times` in every `per`; `None` if either is zero.
    #[must_use]
    pub fn new(times: u32, per: Duration) -> Option<Self> {
        (times > 0 && !per.is_zero()).then_some(Self { count: times, per })
    }

    /// Returns the time between two events, evenly spread.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.per / self.count
    }
}

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let message = || format!("`{}` is not a duration such as 500ms, 30s or 2m", text.escape_debug());
        humantime::parse_duration(text).map(Self).map_err(|_| message())
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (times, per) = text.split_once('/')?;
            let per = per.trim();
            let period = if per.starts_with(|c: char| c.is_ascii_digit()) {
                per.to_owned()
            } else {
                format!("1{per}")
            };
            Self::new(times.trim().parse().ok()?, humantime::parse_duration(&period).ok()?)
        };
        parse().ok_or_else(|| format!("`{}` is not a rate such as 2/s, 30/m or 1/5s", text.escape_debug()))
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = match text.char_indices().last() {
            Some((at, 'k' | 'K')) => (&text[..at], 1024),
            Some((at, 'm' | 'M')) => (&text[..at], 1024 * 1024),
            Some((at, 'g' | 'G')) => (&text[..at], 1024 * 1024 * 1024),
            _ => (text, 1),
        };
        let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        bytes
            .map(Self)
            .ok_or_else(|| format!("`{}` is not a size such as 500000, 10k, 5M or 1G", text.escape_debug()))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&humantime::format_duration(self.0), f)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = humantime::format_duration(self.per).to_string();
        let unit = match per.as_str() {
            "1s" => "s",
            "1m" => "m",
            "1h" => "h",
            "1day" => "day",
            other => other,
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")];
        match units.into_iter().find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, letter)) => write!(f, "{}{letter}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Implements serialization as text, and a schema with the pattern.
macro_rules! impl_text_format {
    ($name:ident, $title:literal, $pattern:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $title, "pattern": $pattern })
            }
        }
    };
}

impl_text_format!(HumanDuration, "A duration with its unit: 500ms, 30s, 2m.", "^\\s*(\\d+\\s*[a-z]+\\s*)+$");
impl_text_format!(Rate, "A rate: 2/s, 30/m, 1/5s.", "^\\s*[1-9]\\d*\\s*/\\s*(\\d*\\s*[a-z]+\\s*)+$");
impl_text_format!(ByteSize, "A number of bytes: 500000, 10k, 5M, 1G.", "^\\d+[kKmMgG]?$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_parsed_with_their_unit_and_formatted() {
        for (text, interval, written) in
            [("2/s", 500, "2/s"), ("30/m", 2_000, "30/m"), ("1/5s", 5_000, "1/5s"), ("4 / 2 s", 500, "4/2s")]
        {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.interval(), Duration::from_millis(interval), "{text}");
            assert_eq!(rate.to_string(), written, "{text}");
        }
        for text in ["", "2", "0/s", "2/0s", "-1/s", "2/parsec"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_parsed_with_their_unit_and_formatted() {
        for (text, bytes, written) in
            [("10k", 10240, "10k"), ("1G", 1 << 30, "1G"), ("1000", 1000, "1000"), ("0", 0, "0")]
        {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, written), "{text}");
        }
        for text in ["", "k", "-1", "1T", "99999999999G"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!("1m 30s".parse::<HumanDuration>().unwrap().0, Duration::from_secs(90));
        assert_eq!(HumanDuration(Duration::from_secs(90)).to_string(), "1m 30s");
        assert!("30".parse::<HumanDuration>().unwrap_err().contains("`30` is not a duration"));
    }
}
