//! Batches of URLs: a request queue, workers, a journal to resume from, and record outputs.
//!
//! ```no_run
//! # async fn example() -> rungs::Result<()> {
//! use rungs::{Fetcher, batch::Batch};
//!
//! let fetcher = Fetcher::builder().build()?;
//! let urls = ["https://shop.example/p/1", "https://shop.example/p/2"];
//! let mut run = Batch::new(fetcher).concurrency(64).checkpoint("run.ckpt").run(urls)?;
//! while let Some(done) = run.next().await {
//!     match done.result {
//!         Ok(page) => println!("{}: {} by {}", done.url, page.status(), page.tier()),
//!         Err(error) => println!("{}: {}", done.url, error.chain()),
//!     }
//! }
//! run.finish().await?;
//! # Ok(()) }
//! ```

mod autoscale;
mod concurrency;
mod context;
mod counters;
mod crawl;
mod dedup;
mod feeder;
mod handle;
mod host_gate;
mod input;
mod journal;
mod listed;
mod observer;
mod open;
mod ordered_receiver;
mod outcome;
mod output;
mod queue;
mod record;
#[cfg(feature = "report")]
mod report;
mod run;
mod state;
mod summary;
mod system_status;
mod task;
mod worker;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::Method;

use crate::exchange::error::Result;
use crate::exchange::robots_policy::RobotsPolicy;
use crate::extract::Extractor;
use crate::fetcher::{Fetcher, RequestBuilder};

pub use context::Completed;
pub use counters::{Counters, TierCounts};
pub use crawl::{CrawlOptions, Trap};
pub use handle::RunHandle;
pub use input::Input;
pub use observer::{FetchRef, Observer};
pub use output::{Output, RecordFormat};
pub use queue::{Lease, LeaseId, LocalQueue, QueuedTask, TaskQueue};
pub use record::{Record, RecordStatus};
#[cfg(feature = "report")]
pub use report::Report;
pub use run::Run;
pub use state::Progress;
pub use summary::Summary;
pub use task::{Task, TaskKey};

use writer::RecordHook;

/// Applied to every request of a batch.
type RequestHook = dyn Fn(RequestBuilder) -> RequestBuilder + Send + Sync;

/// Settings for fetching many URLs. Setters cannot fail; [`run`](Self::run) and [`save`](Self::save) report
/// invalid settings.
#[must_use = "nothing happens before `run` or `save`"]
pub struct Batch {
    fetcher: Fetcher,
    concurrency: usize,
    checkpoint: Option<PathBuf>,
    retry_failed: bool,
    fail_status: bool,
    robots: RobotsPolicy,
    method: Method,
    request_hook: Option<Box<RequestHook>>,
    extract: Extractor,
    crawl: Option<CrawlOptions>,
    record_hooks: Vec<Box<RecordHook>>,
    observers: Vec<Box<dyn Observer>>,
    queue: Option<Arc<dyn TaskQueue>>,
}

impl Batch {
    /// Creates a batch with the defaults, whose URLs are fetched by `fetcher`.
    pub fn new(fetcher: Fetcher) -> Self {
        Self {
            fetcher,
            concurrency: 64,
            checkpoint: None,
            retry_failed: false,
            fail_status: false,
            robots: RobotsPolicy::Obey,
            method: Method::GET,
            request_hook: None,
            extract: Extractor::new(),
            crawl: None,
            record_hooks: Vec::new(),
            observers: Vec::new(),
            queue: None,
        }
    }

    /// The maximum number of concurrently active fetches, at least 1. Fetches that wait for a host, a timer or the
    /// browser are not counted. Autoscaling may run fewer. Default: 64.
    pub fn concurrency(mut self, fetches: usize) -> Self {
        self.concurrency = fetches.max(1);
        self
    }

    /// The file that records finished URLs. Running the same batch with the same file resumes it, even after a
    /// crash. Default: none.
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// After the run, retries transient failures once at a quarter of the concurrency. Transient are network errors,
    /// rate limits, and statuses 408, 425, 429, 500, 502, 503 and 504. With a checkpoint, this includes failures of
    /// earlier runs, whose records are removed from the output. Default: false.
    pub const fn retry_failed(mut self, retry: bool) -> Self {
        self.retry_failed = retry;
        self
    }

    /// Counts a status of 400 or more as a failure. Default: false (a 404 is a result).
    pub const fn fail_status(mut self, fail: bool) -> Self {
        self.fail_status = fail;
        self
    }

    /// The robots.txt policy where neither the fetcher nor a target sets one. Default: [`RobotsPolicy::Obey`].
    pub const fn robots(mut self, robots: RobotsPolicy) -> Self {
        self.robots = robots;
        self
    }

    /// The method of tasks that do not set one. Default: GET, or POST for tasks with a body.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// A function that is applied to every request, before the settings of its task. Headers that may be secrets,
    /// including cookies, are sent only to the origins of the listed URLs. Use a target for other origins.
    pub fn each_request(
        mut self,
        hook: impl Fn(RequestBuilder) -> RequestBuilder + Send + Sync + 'static,
    ) -> Self {
        self.request_hook = Some(Box::new(hook));
        self
    }

    /// The data to extract from every page into its record, in addition to its target's. Default: none.
    pub fn extract(mut self, extractor: Extractor) -> Self {
        self.extract = extractor;
        self
    }

    /// Follows links, which makes the batch a crawl. A checkpoint stores discovered links together with the page they
    /// were found on. Links are requested with GET and a Referer, for any method of the page. Headers added by
    /// [`each_request`](Self::each_request) that may be secrets are sent only to the origins of the listed URLs. If
    /// robots.txt is obeyed, so is `nofollow` of links, pages and headers. Default: none.
    pub fn crawl(mut self, options: CrawlOptions) -> Self {
        self.crawl = Some(options);
        self
    }

    /// A function that may change every record before it is written, for instance its `fields`. It is called on
    /// threads that may block, and an error ends the run. Several hooks are called in order.
    pub fn each_record(mut self, hook: impl Fn(&mut Record) -> Result<()> + Send + Sync + 'static) -> Self {
        self.record_hooks.push(Box::new(hook));
        self
    }

    /// An observer that is notified of every fetch. Several are notified in order. Default: none.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// The request queue. Default: a [`LocalQueue`].
    pub fn task_queue(mut self, queue: Arc<dyn TaskQueue>) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Fetches these URLs, or [`Task`]s, in any order. [`Run::next`] returns each as it completes. A duplicate URL is
    /// fetched once.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the checkpoint belongs to another batch, or is in use.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn run<T: Into<Task>>(
        self,
        urls: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
    ) -> Result<Run> {
        self.run_input(Input::tasks("URLs of the program", urls))
    }

    /// Like [`run`](Self::run), for any input.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn run_input(self, input: Input) -> Result<Run> {
        open::start(self, input, None)
    }

    /// Fetches the URLs of `input` and writes the records to `output`. [`Run::next`] then waits for the end and
    /// returns `None`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the checkpoint belongs to another batch or is in use, or
    /// when the output exists and no checkpoint covers it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn save(self, input: Input, output: Output) -> Result<Run> {
        open::start(self, input, Some(output))
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("concurrency", &self.concurrency)
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}
