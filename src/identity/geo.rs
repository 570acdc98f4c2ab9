//! The location that an identity's browser reports, to match the exit address of its proxy.

use std::path::Path;
use std::str::FromStr;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// The time zone and position that an identity's browser reports. Default: the machine's time zone, no position.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LocationOverride {
    /// An IANA time zone, for example `Europe/Berlin`.
    pub timezone: Option<String>,
    /// The position that the Geolocation API returns, without a permission prompt.
    pub position: Option<Coordinates>,
}

/// A position in degrees. Parsed from `LAT,LON`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Coordinates {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

impl LocationOverride {
    /// Parses a time zone and a position, each if given.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and [`ErrorKind::Config`] if the position is not `LAT,LON`.
    pub(crate) fn parse(timezone: Option<&str>, position: Option<&str>) -> Result<Self> {
        let position = position.map(str::parse).transpose()?;
        let location = Self { timezone: timezone.map(str::to_owned), position };
        location.validate().map(|()| location)
    }

    /// Checks the time zone and the position.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the time zone is unknown or the position is out of range.
    pub fn validate(&self) -> Result<()> {
        if let Some(zone) = self.timezone.as_deref().filter(|zone| !is_time_zone(zone)) {
            let message = format!("`{}` is not a time zone", crate::text::redact::escape_terminal(zone));
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("use a name of the IANA database, for example Europe/Berlin"));
        }
        self.position.map_or(Ok(()), Coordinates::validate)
    }
}

impl Coordinates {
    /// Creates a position. [`LocationOverride::validate`] checks its range.
    #[must_use]
    pub const fn new(latitude: f64, longitude: f64) -> Self {
        Self { latitude, longitude }
    }

    fn validate(self) -> Result<()> {
        let is_valid = (-90.0..=90.0).contains(&self.latitude) && (-180.0..=180.0).contains(&self.longitude);
        if is_valid { Ok(()) } else { Err(invalid_coordinates()) }
    }
}

impl FromStr for Coordinates {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (latitude, longitude) = text.split_once(',').ok_or_else(invalid_coordinates)?;
        let degrees = |text: &str| text.trim().parse::<f64>().map_err(|_| invalid_coordinates());
        let position = Self::new(degrees(latitude)?, degrees(longitude)?);
        position.validate().map(|()| position)
    }
}

fn invalid_coordinates() -> Error {
    Error::new(
        ErrorKind::Config,
        "invalid position: expected a latitude of -90 to 90 and a longitude of -180 to 180",
    )
    .with_hint("write it as LAT,LON in degrees, for example 52.52,13.40")
}

/// Whether the machine's time zone database has this zone. Without a database, checks only the form of the name.
fn is_time_zone(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
    };
    let database = Path::new(ZONEINFO_DIR);
    name.len() <= MAX_ZONE_LEN
        && name.split('/').all(part)
        && (!database.is_dir() || database.join(name).is_file())
}

const ZONEINFO_DIR: &str = "/usr/share/zoneinfo";
const MAX_ZONE_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_parsed_and_must_be_in_range() {
        assert_eq!("52.52, -13.4".parse::<Coordinates>().unwrap(), Coordinates::new(52.52, -13.4));
        for wrong in ["", "52", "52;13", "91,0", "0,181", "NaN,0", "a,b"] {
            assert_eq!(wrong.parse::<Coordinates>().unwrap_err().kind(), ErrorKind::Config, "{wrong}");
        }
    }

    #[test]
    fn a_time_zone_is_a_name_and_never_a_path() {
        let check =
            |zone: &str| LocationOverride { timezone: Some(zone.to_owned()), position: None }.validate();
        for zone in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+8"] {
            assert!(check(zone).is_ok(), "{zone}");
        }
        for wrong in ["", "/etc/passwd", "../zone", "Europe//Berlin", "Europe/", "Berlin now"] {
            assert_eq!(check(wrong).unwrap_err().kind(), ErrorKind::Config, "{wrong}");
        }
    }
}
