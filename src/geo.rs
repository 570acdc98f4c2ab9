//! Where an identity says it is: what the exit of its proxy asks for.

use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

/// Time zone and position that an identity's browser shows. Default: the machine's zone, and no position.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LocationOverride {
    /// An IANA time zone, for example `Europe/Berlin`.
    pub timezone: Option<String>,
    /// What a page that asks for the position is told, without asking anybody.
    pub position: Option<Coordinates>,
}

/// A point on the earth, in degrees. Read from `LAT,LON`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Coordinates {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

impl LocationOverride {
    /// The place with this time zone and at this position, where they are said.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`ErrorKind::Config`] when the position is not `LAT,LON`.
    pub(crate) fn parse(timezone: Option<&str>, position: Option<&str>) -> Result<Self> {
        let position = position.map(str::parse).transpose()?;
        let place = Self { timezone: timezone.map(str::to_owned), position };
        place.validate().map(|()| place)
    }

    /// Whether all it says can be shown.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the time zone is none, or the position is not on the earth.
    pub fn validate(&self) -> Result<()> {
        if let Some(zone) = self.timezone.as_deref().filter(|zone| !is_time_zone(zone)) {
            let message = format!("`{}` is no time zone", crate::redact::escape_terminal(zone));
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("name it as the IANA database does, for example Europe/Berlin"));
        }
        self.position.map_or(Ok(()), Coordinates::validate)
    }
}

impl Coordinates {
    /// The point at these degrees. [`Place::check`] tells whether it is on the earth.
    #[must_use]
    pub const fn new(latitude: f64, longitude: f64) -> Self {
        Self { latitude, longitude }
    }

    fn validate(self) -> Result<()> {
        let on_earth = (-90.0..=90.0).contains(&self.latitude) && (-180.0..=180.0).contains(&self.longitude);
        if on_earth { Ok(()) } else { Err(invalid_coordinates()) }
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
    Error::new(ErrorKind::Config, "this is no position on the earth")
        .with_hint("write it as LAT,LON in degrees, for example 52.52,13.40")
}

/// Whether the machine's time zone database has it. Where there is none, whether it looks like one.
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
    fn a_position_is_read_and_must_be_on_the_earth() {
        assert_eq!("52.52, -13.4".parse::<Coordinates>().unwrap(), Coordinates::new(52.52, -13.4));
        for wrong in ["", "52", "52;13", "91,0", "0,181", "NaN,0", "a,b"] {
            assert_eq!(wrong.parse::<Coordinates>().unwrap_err().kind(), ErrorKind::Config, "{wrong}");
        }
    }

    #[test]
    fn a_zone_is_a_name_and_never_a_path() {
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
