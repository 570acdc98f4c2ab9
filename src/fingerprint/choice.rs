//! Chooses the default browser profile: that of the installed browser, so that all tiers look like the same
//! browser. Pure.

use std::path::Path;
use std::sync::Arc;

use super::profile::Profile;

/// A profile and the reason for choosing it.
#[derive(Clone, Debug)]
pub struct ProfileChoice {
    /// The profile.
    pub profile: Arc<Profile>,
    /// The reason, as the end of "chosen because …".
    pub reason: String,
}

/// Chooses among `profiles` for a machine with the operating system `system` (`linux`, `macos`, `windows`)
/// and the installed browser `product`, if any.
///
/// Reading the installed version starts the browser. `major` is therefore called only if profiles of several
/// versions remain. Returns `None` if no profile is of a browser.
#[must_use]
pub fn choose(
    profiles: &[Arc<Profile>],
    system: &str,
    product: Option<&str>,
    major: impl FnOnce() -> Option<u32>,
) -> Option<ProfileChoice> {
    let browsers: Vec<&Arc<Profile>> = profiles.iter().filter(|profile| profile.browser.is_some()).collect();
    let here = filter_or_all(&browsers, |profile| {
        profile.browser.as_ref().is_some_and(|b| !b.mobile && b.platform.eq_ignore_ascii_case(system))
    });
    let of_product = |profile: &Profile| Some(profile.provenance.browser.as_str()) == product;
    let has_product = here.iter().any(|profile| of_product(profile));
    let remaining = if has_product {
        filter_or_all(&here, of_product)
    } else {
        // A captured one is proven on the wire, a derived one is not.
        filter_or_all(&here, |profile| !profile.provenance.derived)
    };
    let newest = *remaining.iter().max_by_key(|profile| profile.major())?;
    let choice =
        |profile: &Arc<Profile>, reason: String| ProfileChoice { profile: Arc::clone(profile), reason };
    let Some(product) = product else {
        return Some(choice(newest, "no browser is installed and this is the newest profile".to_owned()));
    };
    if !has_product {
        let reason =
            format!("no profile matches {product}, the installed browser, and this is the newest profile");
        return Some(choice(newest, reason));
    }
    if remaining.iter().all(|profile| profile.major() == newest.major()) {
        return Some(choice(newest, format!("{product} is installed")));
    }
    let Some(major) = major() else {
        let reason =
            format!("{product} is installed, its version is unknown, and this is its newest profile");
        return Some(choice(newest, reason));
    };
    Some(match remaining.iter().find(|profile| profile.major() == Some(major)) {
        Some(same) => choice(same, format!("{product} {major} is installed")),
        None => choice(newest, format!("{product} {major} is installed, and this is its newest profile")),
    })
}

/// Guesses the product from the path of an executable. Default: Chromium.
#[must_use]
pub fn product_from_path(executable: &Path) -> &'static str {
    let path = executable.to_string_lossy().to_ascii_lowercase();
    PRODUCTS.iter().find(|(mark, _)| path.contains(mark)).map_or("Chromium", |(_, product)| product)
}

/// Returns the profiles that match, or all if none does.
fn filter_or_all<'a>(from: &[&'a Arc<Profile>], fits: impl Fn(&Profile) -> bool) -> Vec<&'a Arc<Profile>> {
    let fitting: Vec<_> = from.iter().copied().filter(|profile| fits(profile)).collect();
    if fitting.is_empty() { from.to_vec() } else { fitting }
}

/// The first match decides: `chromium` must come before `chrome`.
const PRODUCTS: [(&str, &str); 4] =
    [("chromium", "Chromium"), ("edge", "Microsoft Edge"), ("brave", "Brave"), ("chrome", "Google Chrome")];

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped profiles, plus an older and a newer Chromium.
    fn profiles() -> Vec<Arc<Profile>> {
        let mut all = Profile::shipped();
        for version in ["149", "157"] {
            let mut other = Profile::clone(&Profile::named("chrome-156-linux").unwrap());
            other.name = format!("chrome-{version}-linux");
            other.provenance.version = format!("{version}.0.1.2");
            all.push(Arc::new(other));
        }
        all
    }

    fn name(system: &str, product: Option<&str>, major: Option<u32>) -> String {
        choose(&profiles(), system, product, || major).unwrap().profile.name.clone()
    }

    #[test]
    fn the_profile_of_the_installed_browser_is_chosen() {
        let (chromium, chrome, edge) = (Some("Chromium"), Some("Google Chrome"), Some("Microsoft Edge"));
        for (system, product, major, expected) in [
            ("linux", chromium, Some(156), "chrome-156-linux"),
            ("linux", chromium, Some(149), "chrome-149-linux"),
            ("linux", chromium, Some(200), "chrome-157-linux"),
            ("linux", chromium, None, "chrome-157-linux"),
            ("linux", chrome, Some(156), "google-chrome-156-linux"),
            ("linux", edge, Some(156), "chrome-157-linux"),
            ("linux", None, None, "chrome-157-linux"),
            ("windows", edge, Some(156), "edge-156-windows"),
            ("windows", chrome, Some(156), "google-chrome-156-windows"),
            ("macos", chrome, Some(156), "google-chrome-156-macos"),
            ("freebsd", None, None, "chrome-157-linux"),
        ] {
            assert_eq!(name(system, product, major), expected, "{product:?} {major:?} on {system}");
        }
    }

    #[test]
    fn the_installed_version_is_not_read_if_only_one_version_is_left() {
        let never = || unreachable!("one version only");
        let choice = choose(&Profile::shipped(), "linux", Some("Chromium"), never).unwrap();
        assert_eq!(choice.profile.name, "chrome-156-linux");
        assert_eq!(choice.reason, "Chromium is installed");
        let choice = choose(&Profile::shipped(), "linux", None, || unreachable!("no browser")).unwrap();
        assert_eq!(choice.profile.name, "chrome-156-linux");
    }

    #[test]
    fn without_a_browser_profile_there_is_no_choice() {
        let plain = [Profile::named("plain").unwrap()];
        assert!(choose(&plain, "linux", Some("Chromium"), || Some(1)).is_none());
    }

    #[test]
    fn the_product_is_guessed_from_the_path() {
        for (path, expected) in [
            ("/usr/lib/chromium/chromium", "Chromium"),
            ("/usr/bin/chromium-browser", "Chromium"),
            ("/opt/google/chrome/chrome", "Google Chrome"),
            ("/usr/bin/google-chrome-stable", "Google Chrome"),
            ("/usr/bin/microsoft-edge", "Microsoft Edge"),
            ("/usr/bin/brave-browser", "Brave"),
            ("/home/me/my-build", "Chromium"),
        ] {
            assert_eq!(product_from_path(Path::new(path)), expected, "{path}");
        }
    }
}
