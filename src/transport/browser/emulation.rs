//! What every target of a context wears: user agent and client hints, time zone, position.

use chromiumoxide::cdp::browser_protocol::browser::{
    PermissionDescriptor, PermissionSetting, SetPermissionParams,
};
use chromiumoxide::cdp::browser_protocol::emulation::{
    SetGeolocationOverrideParams, SetLocaleOverrideParams, SetTimezoneOverrideParams,
    SetUserAgentOverrideParams, UserAgentBrandVersion, UserAgentMetadata,
};

use super::connection::CdpConnection;
use crate::fingerprint::profile::{Brand, Browser as Worn};
use crate::identity::Identity;

/// The commands that dress one target as an identity, before it runs.
pub(super) struct Emulation {
    agent: SetUserAgentOverrideParams,
    locale: Option<SetLocaleOverrideParams>,
    timezone: Option<SetTimezoneOverrideParams>,
    position: Option<SetGeolocationOverrideParams>,
}

impl Emulation {
    /// What `identity`, which wears `worn`, looks like.
    pub(super) fn for_identity(identity: &Identity, worn: &Worn) -> Self {
        let place = identity.location();
        Self {
            agent: user_agent_override(worn),
            locale: locale_override(worn),
            timezone: place.timezone.clone().map(SetTimezoneOverrideParams::new),
            position: place.position.map(|position| SetGeolocationOverrideParams {
                latitude: Some(position.latitude),
                longitude: Some(position.longitude),
                accuracy: Some(ACCURACY),
                ..SetGeolocationOverrideParams::default()
            }),
        }
    }

    /// Dresses the target of `session`, which is of this kind.
    pub(super) fn apply(&self, connection: &CdpConnection, session: &str, kind: &str) {
        connection.send_with_guard(Some(session), &self.agent, Box::new(()));
        if let Some(locale) = &self.locale {
            connection.send_with_guard(Some(session), locale, Box::new(()));
        }
        if let Some(timezone) = &self.timezone {
            connection.send_with_guard(Some(session), timezone, Box::new(()));
        }
        // Workers have no position to tell.
        if let Some(position) = self.position.as_ref().filter(|_| matches!(kind, "page" | "iframe")) {
            connection.send_with_guard(Some(session), position, Box::new(()));
        }
    }

    /// What lets pages of the context have the position: nobody is there to be asked.
    pub(super) fn geolocation_permission(&self, context: &str) -> Option<SetPermissionParams> {
        self.position.as_ref()?;
        let mut set =
            SetPermissionParams::new(PermissionDescriptor::new("geolocation"), PermissionSetting::Granted);
        set.browser_context_id = Some(context.to_owned().into());
        Some(set)
    }
}

/// The profile's user agent and client hints. Without `acceptLanguage`: that would move the header;
/// `--accept-lang` does not.
fn user_agent_override(worn: &Worn) -> SetUserAgentOverrideParams {
    let list = |brands: &[Brand]| {
        let one = |brand: &Brand| UserAgentBrandVersion::new(brand.brand.clone(), brand.version.clone());
        Some(brands.iter().map(one).collect::<Vec<_>>())
    };
    let metadata = UserAgentMetadata {
        brands: list(&worn.brands),
        full_version_list: list(&worn.full_version_list),
        platform: worn.platform.clone(),
        platform_version: worn.platform_version.clone(),
        architecture: worn.architecture.clone(),
        model: worn.model.clone(),
        mobile: worn.mobile,
        bitness: Some(worn.bitness.clone()),
        wow64: Some(false),
        form_factors: Some(vec![if worn.mobile { "Mobile" } else { "Desktop" }.to_owned()]),
    };
    let mut agent = SetUserAgentOverrideParams::new(worn.user_agent.clone());
    agent.user_agent_metadata = Some(metadata);
    agent
}

/// The locale of a browser in the first language. The installed one may lack it (Debian packs all but
/// English apart), and would then write dates and numbers the English way.
fn locale_override(worn: &Worn) -> Option<SetLocaleOverrideParams> {
    let first = worn.languages.first().filter(|first| *first != BUILT_IN_LOCALE)?;
    let (base, region) = first.split_once('-').unwrap_or((first, ""));
    // Chrome has these in several regions, and every other language in one.
    let regional = !region.is_empty() && matches!(base, "en" | "es" | "pt" | "zh");
    let european = base == "es" && region == "ES";
    let locale = if regional && !european { first.as_str() } else { base };
    Some(SetLocaleOverrideParams { locale: Some(locale.to_owned()) })
}

const BUILT_IN_LOCALE: &str = "en-US";
/// Metres, as a computer without GPS has it from its networks.
const ACCURACY: f64 = 40.0;
