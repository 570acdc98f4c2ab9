//! Arguments of the browser tier.

use std::path::PathBuf;

use crate::cli::value_enums::{BodySourceArg, ResourceKindArg};

/// How a page is rendered.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct RenderArgs {
    /// Wait until this selector matches
    ///
    /// The attempt fails when nothing matches before --page-timeout.
    #[arg(long, value_name = "CSS")]
    pub(crate) wait_for: Option<String>,

    /// Wait this long after the page has settled, e.g. 2s
    ///
    /// Then the page is awaited until it settles again. The attempt still ends at --page-timeout. The time has a unit
    /// (500ms, 2s) or is in seconds.
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<String>,

    /// Maximum time for a page to settle. Default: 10
    ///
    /// The time is in seconds. A page is settled after half a second without a request in flight. After the timeout its
    /// current state is used.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) settle_timeout: Option<String>,

    /// Maximum time of one browser attempt. Default: 60
    ///
    /// The time is in seconds and begins when a browser page is available.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) page_timeout: Option<String>,

    /// Memory that one page may use. Default: by the machine
    ///
    /// Counts the renderer processes of the page with its frames and workers. A page that uses more is closed, and its
    /// fetch fails. The size has a unit of 1024 and is at least 128M. The default is half of the available memory, divided
    /// by --browser-pages, from 512M to 2G.
    #[arg(long, value_name = "SIZE")]
    pub(crate) page_memory: Option<String>,

    /// Body of a page. Default: dom
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) body: Option<BodySourceArg>,

    /// Block resources
    ///
    /// Pages do not load resources of these types. Several are separated by commas. Example: --block images,fonts,media,trackers.
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    pub(crate) block: Vec<ResourceKindArg>,

    /// Scroll to the end of the page before reading it
    ///
    /// Scrolls the list in the middle of the page, if there is one.
    #[arg(long)]
    pub(crate) scroll: bool,

    /// Read the documents of frames too
    ///
    /// They appear as `frames` in the JSON output, and their links in `links`. A crawl follows them. The fetch starts at
    /// the browser tier.
    #[arg(long)]
    pub(crate) frames: bool,
}

/// Screenshots and PDF files of pages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct CaptureArgs {
    /// Save a screenshot of the whole page (PNG)
    ///
    /// The fetch starts at the browser tier. Give one file for each URL, in order.
    #[arg(long, value_name = "FILE")]
    pub(crate) screenshot: Vec<PathBuf>,

    /// Save the page as PDF
    ///
    /// The fetch starts at the browser tier. Give one file for each URL, in order.
    #[arg(long, value_name = "FILE")]
    pub(crate) pdf: Vec<PathBuf>,
}

/// Window, language, time zone and position of the browser, and its pool.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct EmulationArgs {
    /// Run the browser with a window
    ///
    /// The window opens on DISPLAY, or on a private Xvfb without it.
    #[arg(long)]
    pub(crate) headful: bool,

    /// Browser language, e.g. de-DE. Default: the profile's
    ///
    /// Sets Accept-Language and the language that scripts see, on the impersonate and browser tiers.
    #[arg(long, value_name = "TAG")]
    pub(crate) lang: Option<String>,

    /// Time zone, e.g. Europe/Berlin. Default: the machine's
    #[arg(long, value_name = "ZONE")]
    pub(crate) timezone: Option<String>,

    /// Position for pages, e.g. 52.52,13.40. Default: none
    ///
    /// Latitude and longitude in degrees. A page that requests the position receives it without a prompt.
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true)]
    pub(crate) geolocation: Option<String>,

    /// Maximum open browser pages. Default: one per core
    ///
    /// The default is at least 2, if memory allows.
    #[cfg(feature = "browser")]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) browser_pages: Option<u16>,

    /// Maximum browser processes. Default: one per 16 pages
    #[cfg(feature = "browser")]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) browser_processes: Option<u16>,
}
