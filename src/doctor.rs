//! What is installed here, what each tier can do with it, and the fix for what it cannot.

use std::path::Path;

use crate::fingerprint::Profile;
use crate::fingerprint::choice::ProfileChoice;
#[cfg(feature = "browser")]
use crate::fingerprint::profile::major;

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// A tier cannot work.
    Broken,
}

impl CheckStatus {
    /// `ok`, `warning` or `broken`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Broken => "broken",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at, for example `browser`.
    pub subject: &'static str,
    /// How it stands.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Finding {
    fn new(subject: &'static str, status: CheckStatus, detail: impl Into<String>) -> Self {
        Self { subject, status, detail: detail.into(), fix: None }
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// Looks at everything. Starts the browser only to ask for its version; sends nothing.
#[must_use]
pub fn run_checks() -> Vec<Finding> {
    let worn = crate::fetcher::default_profile();
    let mut findings = vec![
        Finding::new("rungs", CheckStatus::Ok, format!("version {}", env!("CARGO_PKG_VERSION"))),
        check_roots(),
        check_dns(),
        Finding::new("plain", CheckStatus::Ok, "HTTP/1.1, HTTP/2, TLS 1.2 and 1.3"),
        match &worn {
            Ok(ProfileChoice { profile, reason }) => Finding::new(
                "impersonate",
                CheckStatus::Ok,
                format!(
                    "profile {}: {} {}, {} {}; worn because {reason}",
                    profile.name,
                    profile.provenance.browser,
                    profile.provenance.version,
                    if profile.provenance.derived { "derived" } else { "captured" },
                    profile.provenance.captured
                ),
            ),
            Err(error) => Finding::new("impersonate", CheckStatus::Broken, error.chain()),
        },
    ];
    findings.extend(check_browser(worn.ok().map(|worn| worn.profile).as_deref()));
    findings
}

/// The major version of the browser installed here. Starts it to ask.
#[must_use]
pub fn installed_major() -> Option<u32> {
    #[cfg(feature = "browser")]
    return major(&crate::transport::browser::version(&crate::transport::browser::find()?)?);
    #[cfg(not(feature = "browser"))]
    return None;
}

fn check_roots() -> Finding {
    match crate::net::system_roots() {
        Some(path) => Finding::new("certificates", CheckStatus::Ok, format!("roots from {}", path.display())),
        None => {
            Finding::new("certificates", CheckStatus::Warning, "no system roots; the bundled ones are used")
                .fix("install your system's CA certificates (Debian: apt-get install ca-certificates)")
        }
    }
}

fn check_dns() -> Finding {
    if Path::new("/etc/resolv.conf").exists() {
        Finding::new("names", CheckStatus::Ok, "DNS as /etc/resolv.conf says, the hosts file before it")
    } else {
        Finding::new("names", CheckStatus::Warning, "no /etc/resolv.conf; only the hosts file is used")
            .fix("configure a name server, or give names with --resolve")
    }
}

#[cfg(not(feature = "browser"))]
fn browser(_profile: Option<&Profile>) -> Vec<Finding> {
    vec![
        Finding::new("browser", State::Warning, "this build has no browser tier")
            .fix("build with the default feature `browser`"),
    ]
}

#[cfg(feature = "browser")]
fn check_browser(profile: Option<&Profile>) -> Vec<Finding> {
    use crate::transport::browser;
    let Some(path) = browser::find() else {
        return vec![
            Finding::new("browser", CheckStatus::Broken, "no Chromium or Chrome found").fix(
                "Debian: apt-get install chromium; elsewhere install Chrome, or name it in RUNGS_BROWSER",
            ),
        ];
    };
    let Some(version) = browser::version(&path) else {
        return vec![
            Finding::new(
                "browser",
                CheckStatus::Broken,
                format!("{} does not tell its version", path.display()),
            )
            .fix("start it by hand to see what is missing, or name another in RUNGS_BROWSER"),
        ];
    };
    let mut findings =
        vec![Finding::new("browser", CheckStatus::Ok, format!("{version} at {}", path.display()))];
    findings.extend(profile.and_then(|profile| check_version_drift(profile, &version)));
    if rustix::process::geteuid().is_root() {
        findings.push(
            Finding::new(
                "sandbox",
                CheckStatus::Warning,
                "running as root: Chromium runs without its sandbox",
            )
            .fix("run rungs as another user"),
        );
    }
    findings
}

/// A warning when the profile and the browser are of different versions, the patch level included: sites are told all
/// of it in `sec-ch-ua-full-version-list`.
#[cfg(feature = "browser")]
fn check_version_drift(profile: &Profile, version: &str) -> Option<Finding> {
    let worn = profile.provenance.version.as_str();
    let installed = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let consequence = if profile.major()? == major(version)? {
        "sites that ask for the full version see another one on each tier"
    } else {
        "the tiers look like two browsers"
    };
    (worn != installed).then(|| {
        let detail = format!(
            "profile {} has version {worn}, the installed browser has {installed}: {consequence}",
            profile.name
        );
        Finding::new("drift", CheckStatus::Warning, detail).fix(
            "capture a profile of this browser (`rungs profile capture -o FILE`) and use it with `--as FILE`, or \
             install the browser version of the profile",
        )
    })
}

#[cfg(all(test, feature = "browser"))]
mod tests {
    use super::*;

    #[test]
    fn a_browser_of_another_version_than_the_profile_is_drift() {
        let profile = Profile::named("chrome-156-linux").expect("it is shipped");
        let same = format!("Chromium {} built on Debian", profile.provenance.version);
        assert!(check_version_drift(&profile, &same).is_none());
        let patch = check_version_drift(&profile, "Chromium 156.0.9999.1").expect("another patch level");
        assert!(patch.detail.contains("156.0.9999.1"), "{}", patch.detail);
        let finding = check_version_drift(&profile, "Chromium 158.0.1.1").expect("two versions apart");
        assert_eq!(finding.status, CheckStatus::Warning);
        assert!(finding.detail.contains("chrome-156-linux"), "{}", finding.detail);
        assert!(finding.detail.contains("156") && finding.detail.contains("158"), "{}", finding.detail);
    }
}
