//! The library's closed lists as the command line writes them, with their help.

use clap::ValueEnum;
use rungs::batch::RecordFormat;
use rungs::{BodySource, Context, ResourceKind, RobotsPolicy, RotationMode, Tier};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RobotsArg {
    /// Ask for it first, and fetch nothing it forbids.
    Obey,
    /// Do not ask; the trace says so.
    Ignore,
}

impl From<RobotsArg> for RobotsPolicy {
    fn from(name: RobotsArg) -> Self {
        match name {
            RobotsArg::Obey => Self::Obey,
            RobotsArg::Ignore => Self::Ignore,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RotationModeArg {
    /// One exit for all that an identity fetches.
    Sticky,
    /// A fresh identity, on fresh connections, for every fetch.
    Rotating,
    /// One exit, and one identity, for each site.
    PerHost,
}

impl From<RotationModeArg> for RotationMode {
    fn from(name: RotationModeArg) -> Self {
        match name {
            RotationModeArg::Sticky => Self::Sticky,
            RotationModeArg::Rotating => Self::Rotating,
            RotationModeArg::PerHost => Self::PerHost,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProxyFallbackArg {
    /// The fetch fails.
    None,
    /// It goes without a proxy; the trace says so.
    Direct,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BodySourceArg {
    /// As its scripts have made it.
    Dom,
    /// As the server sent it.
    Raw,
}

impl From<BodySourceArg> for BodySource {
    fn from(name: BodySourceArg) -> Self {
        match name {
            BodySourceArg::Dom => Self::Dom,
            BodySourceArg::Raw => Self::Raw,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ResourceKindArg {
    /// Images.
    Images,
    /// Fonts.
    Fonts,
    /// Audio and video.
    Media,
    /// The hosts of profiles/blocking/trackers.txt.
    Trackers,
}

impl From<ResourceKindArg> for ResourceKind {
    fn from(name: ResourceKindArg) -> Self {
        match name {
            ResourceKindArg::Images => Self::Images,
            ResourceKindArg::Fonts => Self::Fonts,
            ResourceKindArg::Media => Self::Media,
            ResourceKindArg::Trackers => Self::Trackers,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TierArg {
    /// An honest HTTP client.
    Plain,
    /// A real browser's TLS, HTTP/2 and headers.
    Impersonate,
    /// A headless Chromium.
    Browser,
}

impl From<TierArg> for Tier {
    fn from(name: TierArg) -> Self {
        match name {
            TierArg::Plain => Self::Plain,
            TierArg::Impersonate => Self::Impersonate,
            TierArg::Browser => Self::Browser,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ContextArg {
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

impl From<ContextArg> for Context {
    fn from(name: ContextArg) -> Self {
        match name {
            ContextArg::Navigation => Self::Navigation,
            ContextArg::Reload => Self::Reload,
            ContextArg::Form => Self::Form,
            ContextArg::Fetch => Self::Fetch,
            ContextArg::Xhr => Self::Xhr,
        }
    }
}

/// How what was found is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Lines to read.
    Text,
    /// JSON.
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RecordFormatArg {
    /// One JSON object a line, with the keys of `rungs fetch --format json`.
    Jsonl,
    /// One line of CSV, without bodies.
    Csv,
    /// WARC 1.1, gzipped where the file's name ends in .gz.
    Warc,
    /// A SQLite database.
    Sqlite,
}

impl From<RecordFormatArg> for RecordFormat {
    fn from(name: RecordFormatArg) -> Self {
        match name {
            RecordFormatArg::Jsonl => Self::Jsonl,
            RecordFormatArg::Csv => Self::Csv,
            RecordFormatArg::Warc => Self::Warc,
            RecordFormatArg::Sqlite => Self::Sqlite,
        }
    }
}
