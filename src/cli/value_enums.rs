//! Command-line forms of the library's enums, with help for each value.

use clap::ValueEnum;
use rungs::batch::RecordFormat;
use rungs::{BodySource, Context, ResourceKind, RobotsPolicy, RotationMode, Tier};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RobotsArg {
    /// Request it first and fetch nothing that it disallows
    Obey,
    /// Do not request it; the trace says so
    Ignore,
}

impl From<RobotsArg> for RobotsPolicy {
    fn from(arg: RobotsArg) -> Self {
        match arg {
            RobotsArg::Obey => Self::Obey,
            RobotsArg::Ignore => Self::Ignore,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RotationModeArg {
    /// One address for all fetches of an identity
    Sticky,
    /// A new identity on new connections for each fetch
    Rotating,
    /// One address and one identity for each site
    PerHost,
}

impl From<RotationModeArg> for RotationMode {
    fn from(arg: RotationModeArg) -> Self {
        match arg {
            RotationModeArg::Sticky => Self::Sticky,
            RotationModeArg::Rotating => Self::Rotating,
            RotationModeArg::PerHost => Self::PerHost,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProxyFallbackArg {
    /// Fail the fetch
    None,
    /// Connect without a proxy; the trace says so
    Direct,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BodySourceArg {
    /// The DOM as scripts made it
    Dom,
    /// The document as the server sent it
    Raw,
}

impl From<BodySourceArg> for BodySource {
    fn from(arg: BodySourceArg) -> Self {
        match arg {
            BodySourceArg::Dom => Self::Dom,
            BodySourceArg::Raw => Self::Raw,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ResourceKindArg {
    /// Images
    Images,
    /// Fonts
    Fonts,
    /// Audio and video
    Media,
    /// Hosts in profiles/blocking/trackers.txt
    Trackers,
}

impl From<ResourceKindArg> for ResourceKind {
    fn from(arg: ResourceKindArg) -> Self {
        match arg {
            ResourceKindArg::Images => Self::Images,
            ResourceKindArg::Fonts => Self::Fonts,
            ResourceKindArg::Media => Self::Media,
            ResourceKindArg::Trackers => Self::Trackers,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TierArg {
    /// An HTTP client that names itself
    Plain,
    /// TLS, HTTP/2 and headers of a browser
    Impersonate,
    /// Headless Chromium
    Browser,
}

impl From<TierArg> for Tier {
    fn from(arg: TierArg) -> Self {
        match arg {
            TierArg::Plain => Self::Plain,
            TierArg::Impersonate => Self::Impersonate,
            TierArg::Browser => Self::Browser,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ContextArg {
    /// A typed address, or a clicked link (with -H 'Referer: …')
    Navigation,
    /// A reload of the page
    Reload,
    /// A submitted form
    Form,
    /// fetch() of a script
    Fetch,
    /// XMLHttpRequest of a script
    Xhr,
}

impl From<ContextArg> for Context {
    fn from(arg: ContextArg) -> Self {
        match arg {
            ContextArg::Navigation => Self::Navigation,
            ContextArg::Reload => Self::Reload,
            ContextArg::Form => Self::Form,
            ContextArg::Fetch => Self::Fetch,
            ContextArg::Xhr => Self::Xhr,
        }
    }
}

/// The format of printed results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Human-readable text
    Text,
    /// JSON
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RecordFormatArg {
    /// One JSON object per line, with the keys of `rungs fetch --format json`
    Jsonl,
    /// CSV, one row per record, without bodies
    Csv,
    /// WARC 1.1, compressed when the file name ends in .gz
    Warc,
    /// SQLite database
    Sqlite,
    /// WACZ 1.1.1: a WARC with index and list of pages, which replay tools open
    Wacz,
}

impl From<RecordFormatArg> for RecordFormat {
    fn from(arg: RecordFormatArg) -> Self {
        match arg {
            RecordFormatArg::Jsonl => Self::Jsonl,
            RecordFormatArg::Csv => Self::Csv,
            RecordFormatArg::Warc => Self::Warc,
            RecordFormatArg::Sqlite => Self::Sqlite,
            RecordFormatArg::Wacz => Self::Wacz,
        }
    }
}
