//! Many URLs: a work list, workers, a journal to resume from, and records written as they come.
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
mod output;
mod queue;
mod record;
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

use crate::error::Result;
use crate::extract::Extractor;
use crate::fetcher::{Fetcher, RequestBuilder};
use crate::rate_limit::RobotsPolicy;

pub use counters::{Counters, TierCounts};
pub use crawl::{CrawlOptions, Trap};
pub use handle::RunHandle;
pub use input::Input;
pub use observer::{FetchRef, Observer};
pub use output::{Output, RecordFormat};
pub use queue::{Lease, LeaseId, LocalQueue, QueuedTask, TaskQueue};
pub use record::{Record, RecordStatus};
pub use report::Report;
pub use run::{Completed, Run};
pub use state::Progress;
pub use summary::Summary;
pub use task::{Task, TaskKey};

use writer::RecordHook;

/// What every request of a batch has in common.
type RequestHook = dyn Fn(RequestBuilder) -> RequestBuilder + Send + Sync;

/// Settings for fetching many URLs. Setters cannot fail; [`run`](Self::run) and [`save`](Self::save) tell
/// what was wrong.
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
    /// A batch of fetches by `fetcher`, with the defaults.
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

    /// The most fetches that work at once, from 1; those that wait for their host, for a clock or for the browser
    /// are not counted. Fewer work while more do no good. Default: 64.
    pub fn concurrency(mut self, fetches: usize) -> Self {
        self.concurrency = fetches.max(1);
        self
    }

    /// Keeps in this file which URLs are finished. The same batch with the same file goes on where it ended,
    /// however it ended. Default: none.
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Fetches a second time, at a quarter of the concurrency, what failed in a way that may pass: network errors,
    /// rate limits, statuses 408, 425, 429, 500, 502, 503 and 504; with a checkpoint, what an earlier run ended
    /// with as well, whose records are taken out of the output. Default: false.
    pub const fn retry_failed(mut self, retry: bool) -> Self {
        self.retry_failed = retry;
        self
    }

    /// Counts a status of 400 or more as a failure. Default: false, a 404 is an answer.
    pub const fn fail_status(mut self, fail: bool) -> Self {
        self.fail_status = fail;
        self
    }

    /// What to do about robots.txt where neither the fetcher nor a target says anything. Default: obey it.
    pub const fn robots(mut self, robots: RobotsPolicy) -> Self {
        self.robots = robots;
        self
    }

    /// The method of tasks that have none of their own. Default: GET, or POST for those with a body.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// What to add to every request, before what its task says. Headers that may be secrets, cookies among them, are
    /// left out of requests to another origin than those of the listed URLs; give another site its own by a target.
    pub fn each_request(
        mut self,
        hook: impl Fn(RequestBuilder) -> RequestBuilder + Send + Sync + 'static,
    ) -> Self {
        self.request_hook = Some(Box::new(hook));
        self
    }

    /// What to read out of every page into its record, beside what its target says. Default: nothing.
    pub fn extract(mut self, wanted: Extractor) -> Self {
        self.extract = wanted;
        self
    }

    /// Follows links: the batch becomes a crawl, and its list grows while it is done. With a checkpoint, what was
    /// found is kept in it together with the page it was found on. Links are asked for with GET and a Referer, whatever the
    /// page was asked for with; what [`each_request`](Self::each_request) adds goes to the origins of the listed URLs. Where robots.txt is obeyed, `nofollow` is too, of links, pages and headers. Default: none.
    pub fn crawl(mut self, links: CrawlOptions) -> Self {
        self.crawl = Some(links);
        self
    }

    /// What to make of every record before it is written, for instance its `fields`; called on threads that may
    /// block. An error ends the run. Several are called in order.
    pub fn each_record(mut self, hook: impl Fn(&mut Record) -> Result<()> + Send + Sync + 'static) -> Self {
        self.record_hooks.push(Box::new(hook));
        self
    }

    /// Who is told of every fetch; several are told in order. Default: nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Where the tasks are between being read and being done. Default: [`Local`].
    pub fn task_queue(mut self, list: Arc<dyn TaskQueue>) -> Self {
        self.queue = Some(list);
        self
    }

    /// Fetches these URLs, or [`Task`]s, in any order, and hands out each as it is done. A URL that is there twice is
    /// fetched once.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the checkpoint is another batch's, or in use.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn run<T: Into<Task>>(
        self,
        urls: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
    ) -> Result<Run> {
        self.run_input(Input::tasks("what the program gives", urls))
    }

    /// The same for any input.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn run_input(self, input: Input) -> Result<Run> {
        open::start(self, input, None)
    }

    /// Fetches what `input` lists, and writes the records to `output`. [`Run::next`] hands out nothing then, and waits
    /// for the end.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the checkpoint is another batch's or in use, or when the
    /// output is there and no checkpoint says what is in it.
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
