//! The emulation of every target of a context: user agent and client hints, locale, time zone, position.

use chromiumoxide_cdp::cdp::browser_protocol::browser::{
    PermissionDescriptor, PermissionSetting, SetPermissionParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::emulation::{
    SetGeolocationOverrideParams, SetLocaleOverrideParams, SetTimezoneOverrideParams,
    SetUserAgentOverrideParams, UserAgentBrandVersion, UserAgentMetadata,
};

use crate::fingerprint::profile::{Brand, Browser as BrowserProfile};
use crate::identity::Identity;
use crate::transport::chromium::connection::CdpConnection;

/// The commands that apply an identity's overrides to a target before it runs.
pub(super) struct Emulation {
    agent: SetUserAgentOverrideParams,
    locale: Option<SetLocaleOverrideParams>,
    timezone: Option<SetTimezoneOverrideParams>,
    position: Option<SetGeolocationOverrideParams>,
}

impl Emulation {
    /// Returns the overrides for `identity`, whose browser profile is `profile`.
    pub(super) fn for_identity(identity: &Identity, profile: &BrowserProfile) -> Self {
        let location = identity.location();
        Self {
            agent: user_agent_override(profile),
            locale: locale_override(profile),
            timezone: location.timezone.clone().map(SetTimezoneOverrideParams::new),
            position: location.position.map(|position| SetGeolocationOverrideParams {
                latitude: Some(position.latitude),
                longitude: Some(position.longitude),
                accuracy: Some(ACCURACY),
                ..SetGeolocationOverrideParams::default()
            }),
        }
    }

    /// Applies the overrides to the target of `session`, which is of this kind.
    pub(super) fn apply(&self, connection: &CdpConnection, session: &str, kind: &str) {
        connection.send_with_guard(Some(session), &self.agent, Box::new(()));
        if let Some(locale) = &self.locale {
            connection.send_with_guard(Some(session), locale, Box::new(()));
        }
        if let Some(timezone) = &self.timezone {
            connection.send_with_guard(Some(session), timezone, Box::new(()));
        }
        // Workers have no geolocation.
        if let Some(position) = self.position.as_ref().filter(|_| matches!(kind, "page" | "iframe")) {
            connection.send_with_guard(Some(session), position, Box::new(()));
        }
    }

    /// Returns the command that grants geolocation to the context's pages, because no user can grant it.
    pub(super) fn geolocation_permission(&self, context: &str) -> Option<SetPermissionParams> {
        self.position.as_ref()?;
        let mut set =
            SetPermissionParams::new(PermissionDescriptor::new("geolocation"), PermissionSetting::Granted);
        set.browser_context_id = Some(context.to_owned().into());
        Some(set)
    }
}

/// Returns the profile's user agent and client hints. `acceptLanguage` is not set because it would change the
/// position of the header; `--accept-lang` does not.
fn user_agent_override(profile: &BrowserProfile) -> SetUserAgentOverrideParams {
    let list = |brands: &[Brand]| {
        let one = |brand: &Brand| UserAgentBrandVersion::new(brand.brand.clone(), brand.version.clone());
        Some(brands.iter().map(one).collect::<Vec<_>>())
    };
    let metadata = UserAgentMetadata {
        brands: list(&profile.brands),
        full_version_list: list(&profile.full_version_list),
        platform: profile.platform.clone(),
        platform_version: profile.platform_version.clone(),
        architecture: profile.architecture.clone(),
        model: profile.model.clone(),
        mobile: profile.mobile,
        bitness: Some(profile.bitness.clone()),
        wow64: Some(false),
        form_factors: Some(vec![if profile.mobile { "Mobile" } else { "Desktop" }.to_owned()]),
    };
    let mut agent = SetUserAgentOverrideParams::new(profile.user_agent.clone());
    agent.user_agent_metadata = Some(metadata);
    agent
}

/// Returns the locale for the profile's first language. The installed browser may lack it (Debian packages
/// all but English separately) and would then format dates and numbers in English.
fn locale_override(profile: &BrowserProfile) -> Option<SetLocaleOverrideParams> {
    let first = profile.languages.first().filter(|first| *first != BUILT_IN_LOCALE)?;
    let (base, region) = first.split_once('-').unwrap_or((first, ""));
    // Chrome has several regional locales for these languages, and one for each other language.
    let regional = !region.is_empty() && matches!(base, "en" | "es" | "pt" | "zh");
    let european = base == "es" && region == "ES";
    let locale = if regional && !european { first.as_str() } else { base };
    Some(SetLocaleOverrideParams { locale: Some(locale.to_owned()) })
}

const BUILT_IN_LOCALE: &str = "en-US";
/// Metres, typical for a computer without GPS that locates itself by its networks.
const ACCURACY: f64 = 40.0;
