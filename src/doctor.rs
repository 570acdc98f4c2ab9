//! What is installed here, what each tier can do with it, and the fix for what it cannot.

use std::path::Path;

use crate::fingerprint::Profile;

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// A tier cannot work.
    Broken,
}

impl State {
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
    pub state: State,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Finding {
    fn new(subject: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self { subject, state, detail: detail.into(), fix: None }
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// Looks at everything. Starts the browser only to ask for its version; sends nothing.
#[must_use]
pub fn examine() -> Vec<Finding> {
    let profile = Profile::named(crate::fetcher::DEFAULT_PROFILE);
    let mut findings = vec![
        Finding::new("rungs", State::Ok, format!("version {}", env!("CARGO_PKG_VERSION"))),
        roots(),
        names(),
        Finding::new("plain", State::Ok, "HTTP/1.1, HTTP/2, TLS 1.2 and 1.3"),
        match &profile {
            Ok(profile) => Finding::new(
                "impersonate",
                State::Ok,
                format!(
                    "profile {}: {} {}, captured {}",
                    profile.name,
                    profile.provenance.browser,
                    profile.provenance.version,
                    profile.provenance.captured
                ),
            ),
            Err(error) => Finding::new("impersonate", State::Broken, error.chain()),
        },
    ];
    findings.extend(browser(profile.ok().as_deref()));
    findings
}

fn roots() -> Finding {
    match crate::net::system_roots() {
        Some(path) => Finding::new("certificates", State::Ok, format!("roots from {}", path.display())),
        None => Finding::new("certificates", State::Warning, "no system roots; the bundled ones are used")
            .fix("install your system's CA certificates (Debian: apt-get install ca-certificates)"),
    }
}

fn names() -> Finding {
    if Path::new("/etc/resolv.conf").exists() {
        Finding::new("names", State::Ok, "DNS as /etc/resolv.conf says, the hosts file before it")
    } else {
        Finding::new("names", State::Warning, "no /etc/resolv.conf; only the hosts file is used")
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
fn browser(profile: Option<&Profile>) -> Vec<Finding> {
    use crate::transport::browser;
    let Some(path) = browser::find() else {
        return vec![
            Finding::new("browser", State::Broken, "no Chromium or Chrome found").fix(
                "Debian: apt-get install chromium; elsewhere install Chrome, or name it in RUNGS_BROWSER",
            ),
        ];
    };
    let Some(version) = browser::version(&path) else {
        return vec![
            Finding::new("browser", State::Broken, format!("{} does not tell its version", path.display()))
                .fix("start it by hand to see what is missing, or name another in RUNGS_BROWSER"),
        ];
    };
    let mut findings = vec![Finding::new("browser", State::Ok, format!("{version} at {}", path.display()))];
    let worn = profile.map(|profile| major(&profile.provenance.version));
    if let Some(worn) = worn.filter(|worn| *worn != major(&version)) {
        let detail = format!("the profile is of version {worn}, the browser of {}", major(&version));
        findings.push(
            Finding::new("drift", State::Warning, detail)
                .fix("use a profile of the same version, so that the tiers are one browser"),
        );
    }
    if rustix::process::geteuid().is_root() {
        findings.push(
            Finding::new("sandbox", State::Warning, "running as root: Chromium runs without its sandbox")
                .fix("run rungs as another user"),
        );
    }
    findings
}

/// The first number with a dot behind it: `Chromium 156.0.8078.79` is 156.
#[cfg(feature = "browser")]
fn major(version: &str) -> String {
    version
        .split_whitespace()
        .find_map(|word| word.split_once('.').filter(|(number, _)| number.parse::<u32>().is_ok()))
        .map_or_else(|| version.to_owned(), |(number, _)| number.to_owned())
}
