//! The library's closed lists as the command line writes them, with their help.

use clap::ValueEnum;
use rungs::batch::Format;
use rungs::{BodyForm, Context, Load, Mode, Robots, Tier};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RobotsName {
    /// Ask for it first, and fetch nothing it forbids.
    Obey,
    /// Do not ask; the trace says so.
    Ignore,
}

impl From<RobotsName> for Robots {
    fn from(name: RobotsName) -> Self {
        match name {
            RobotsName::Obey => Self::Obey,
            RobotsName::Ignore => Self::Ignore,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ModeName {
    /// One exit for all that an identity fetches.
    Sticky,
    /// A fresh identity, on fresh connections, for every fetch.
    Rotating,
    /// One exit, and one identity, for each site.
    PerHost,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Sticky => Self::Sticky,
            ModeName::Rotating => Self::Rotating,
            ModeName::PerHost => Self::PerHost,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FallbackName {
    /// The fetch fails.
    None,
    /// It goes without a proxy; the trace says so.
    Direct,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BodyName {
    /// As its scripts have made it.
    Dom,
    /// As the server sent it.
    Raw,
}

impl From<BodyName> for BodyForm {
    fn from(name: BodyName) -> Self {
        match name {
            BodyName::Dom => Self::Dom,
            BodyName::Raw => Self::Raw,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LoadName {
    /// Images.
    Images,
    /// Fonts.
    Fonts,
    /// Audio and video.
    Media,
    /// The hosts of profiles/blocking/trackers.txt.
    Trackers,
}

impl From<LoadName> for Load {
    fn from(name: LoadName) -> Self {
        match name {
            LoadName::Images => Self::Images,
            LoadName::Fonts => Self::Fonts,
            LoadName::Media => Self::Media,
            LoadName::Trackers => Self::Trackers,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TierName {
    /// An honest HTTP client.
    Plain,
    /// A real browser's TLS, HTTP/2 and headers.
    Impersonate,
    /// A headless Chromium.
    Browser,
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Self {
        match name {
            TierName::Plain => Self::Plain,
            TierName::Impersonate => Self::Impersonate,
            TierName::Browser => Self::Browser,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ContextName {
    /// An address typed by hand, or a link clicked (with -H 'Referer: …').
    Navigation,
    /// The page loaded anew.
    Reload,
    /// A form sent by its button.
    Form,
    /// A script's fetch().
    Fetch,
    /// A script's XMLHttpRequest.
    Xhr,
}

impl From<ContextName> for Context {
    fn from(name: ContextName) -> Self {
        match name {
            ContextName::Navigation => Self::Navigation,
            ContextName::Reload => Self::Reload,
            ContextName::Form => Self::Form,
            ContextName::Fetch => Self::Fetch,
            ContextName::Xhr => Self::Xhr,
        }
    }
}

/// How what was found is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Told {
    /// Lines to read.
    Text,
    /// JSON.
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatName {
    /// One JSON object a line, with the keys of `rungs fetch --format json`.
    Jsonl,
    /// One line of CSV, without bodies.
    Csv,
    /// WARC 1.1, gzipped where the file's name ends in .gz.
    Warc,
    /// A SQLite database.
    Sqlite,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Jsonl => Self::Jsonl,
            FormatName::Csv => Self::Csv,
            FormatName::Warc => Self::Warc,
            FormatName::Sqlite => Self::Sqlite,
        }
    }
}
