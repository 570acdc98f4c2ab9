//! Checks of the local installation: the state of each tier, and the fix for each problem.

use std::path::Path;

use crate::fingerprint::Profile;
use crate::fingerprint::choice::ProfileChoice;
#[cfg(feature = "browser")]
use crate::fingerprint::profile::major;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckStatus {
    /// Everything works.
    Ok,
    /// It works with a limitation.
    Warning,
    /// A tier does not work.
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

/// The finding of one check.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The subject of the check, for example `browser`.
    pub subject: &'static str,
    /// The result.
    pub status: CheckStatus,
    /// The details.
    pub detail: String,
    /// How to fix the problem.
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

/// Runs all checks. Starts the browser only to read its version; sends no request.
#[must_use]
pub fn run_checks() -> Vec<Finding> {
    let choice = crate::fetcher::default_profile();
    let mut findings = vec![
        Finding::new("rungs", CheckStatus::Ok, format!("version {}", env!("CARGO_PKG_VERSION"))),
        check_roots(),
        check_dns(),
        Finding::new("plain", CheckStatus::Ok, "HTTP/1.1, HTTP/2, TLS 1.2 and 1.3"),
        match &choice {
            Ok(ProfileChoice { profile, reason }) => Finding::new(
                "impersonate",
                CheckStatus::Ok,
                format!(
                    "profile {}: {} {}, {} {}; chosen because {reason}",
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
    findings.extend(check_browser(choice.ok().map(|choice| choice.profile).as_deref()));
    findings
}

/// Returns the major version of the installed browser. Starts the browser to read it.
#[must_use]
pub fn installed_major() -> Option<u32> {
    #[cfg(feature = "browser")]
    return major(&crate::transport::browser::version(&crate::transport::browser::find()?)?);
    #[cfg(not(feature = "browser"))]
    return None;
}

fn check_roots() -> Finding {
    match crate::net::system_roots() {
        Some(path) => Finding::new(
            "certificates",
            CheckStatus::Ok,
            format!("root certificates from {}", path.display()),
        ),
        None => Finding::new(
            "certificates",
            CheckStatus::Warning,
            "no system root certificates; the bundled ones are used",
        )
        .fix("install your system's CA certificates (Debian: apt-get install ca-certificates)"),
    }
}

fn check_dns() -> Finding {
    if Path::new("/etc/resolv.conf").exists() {
        Finding::new("names", CheckStatus::Ok, "the hosts file, then the name servers in /etc/resolv.conf")
    } else {
        Finding::new("names", CheckStatus::Warning, "no /etc/resolv.conf; only the hosts file is used")
            .fix("configure a name server, or set addresses with --resolve")
    }
}

#[cfg(not(feature = "browser"))]
fn check_browser(_profile: Option<&Profile>) -> Vec<Finding> {
    vec![
        Finding::new("browser", CheckStatus::Warning, "this build has no browser tier")
            .fix("build with the default feature `browser`"),
    ]
}

#[cfg(feature = "browser")]
fn check_browser(profile: Option<&Profile>) -> Vec<Finding> {
    use crate::transport::browser;
    let Some(path) = browser::find() else {
        return vec![Finding::new("browser", CheckStatus::Broken, "no Chromium or Chrome found").fix(
            "install Chromium (Debian: apt-get install chromium) or Chrome, or set its path in RUNGS_BROWSER",
        )];
    };
    let Some(version) = browser::version(&path) else {
        return vec![
            Finding::new(
                "browser",
                CheckStatus::Broken,
                format!("{} does not print its version", path.display()),
            )
            .fix("start it by hand to see the error, or set another path in RUNGS_BROWSER"),
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

/// Returns a warning if the profile and the browser have different versions, patch level included: sites see the full
/// version in `sec-ch-ua-full-version-list`.
#[cfg(feature = "browser")]
fn check_version_drift(profile: &Profile, version: &str) -> Option<Finding> {
    let expected = profile.provenance.version.as_str();
    let installed = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let consequence = if profile.major()? == major(version)? {
        "sites that request the full version see a different one on each tier"
    } else {
        "the tiers look like two browsers"
    };
    (expected != installed).then(|| {
        let detail = format!(
            "profile {} has version {expected}, the installed browser has {installed}: {consequence}",
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
        let profile = Profile::named("chrome-156-linux").expect("a shipped profile");
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
