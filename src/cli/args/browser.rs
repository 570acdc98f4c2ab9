//! What is wanted of the browser, and what it looks like.

use std::path::PathBuf;

use crate::cli::value_enums::{BodySourceArg, ResourceKindArg};

/// What is wanted of a page in the browser.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct RenderArgs {
    /// Wait until this selector matches.
    #[arg(long, value_name = "CSS")]
    pub(crate) wait_for: Option<String>,

    /// The most time for a page to come to rest, in seconds; then it is taken as it is. Default: 10.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) settle_timeout: Option<String>,

    /// The most time for one attempt in the browser, in seconds. Default: 60.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) page_timeout: Option<String>,

    /// Which form of a page is its body. Default: dom.
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) body: Option<BodySourceArg>,

    /// What pages do not load, several separated by commas.
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    pub(crate) block: Vec<ResourceKindArg>,

    /// Go down to the page's end before it is read.
    #[arg(long)]
    pub(crate) scroll: bool,
}

/// Pictures of pages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct CaptureArgs {
    /// Save a picture of the whole page (PNG); starts at the browser tier; given once a URL, in order.
    #[arg(long, value_name = "FILE")]
    pub(crate) screenshot: Vec<PathBuf>,

    /// Save the page as printed; starts at the browser tier; given once a URL, in order.
    #[arg(long, value_name = "FILE")]
    pub(crate) pdf: Vec<PathBuf>,
}

/// What the browser looks like to a site.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct EmulationArgs {
    /// Run the browser with a window: on DISPLAY, or on an Xvfb of its own.
    #[arg(long)]
    pub(crate) headful: bool,

    /// The language the browser is set to: de-DE. Default: the profile's.
    #[arg(long, value_name = "TAG")]
    pub(crate) lang: Option<String>,

    /// The time zone that pages see: Europe/Berlin. Default: the machine's.
    #[arg(long, value_name = "ZONE")]
    pub(crate) timezone: Option<String>,

    /// The position that pages are told: 52.52,13.40. Default: none.
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true)]
    pub(crate) geolocation: Option<String>,

    /// The most browser pages open at once. Default: one a core, at least 2, if memory allows.
    #[cfg(feature = "browser")]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) browser_pages: Option<u16>,

    /// The most browser processes. Default: one for every 16 pages.
    #[cfg(feature = "browser")]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) browser_processes: Option<u16>,
}
