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

mod begin;
mod crawl;
mod gauge;
mod handle;
mod hosts;
mod input;
mod journal;
mod listed;
mod observer;
mod output;
mod reader;
mod record;
mod report;
mod run;
mod seen;
mod sink;
mod slots;
mod status;
mod summary;
mod tally;
mod task;
mod throttle;
mod work;
mod worker;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::Method;

use crate::error::Result;
use crate::extract::Extract;
use crate::fetcher::{Fetcher, RequestBuilder};
use crate::politeness::Robots;

pub use crawl::{Follow, Trap};
pub use handle::Handle;
pub use input::Input;
pub use observer::{Fetch, Observer};
pub use output::{Format, Output};
pub use record::{Ending, Record};
pub use report::Report;
pub use run::{Done, Run};
pub use status::Progress;
pub use summary::Summary;
pub use tally::{Tally, Tiers};
pub use task::{Key, Task};
pub use work::{Lease, LeaseId, Local, Work, WorkList};

use sink::Change;

/// What every request of a batch has in common.
type Common = dyn Fn(RequestBuilder) -> RequestBuilder + Send + Sync;

/// Settings for fetching many URLs. Setters cannot fail; [`run`](Self::run) and [`save`](Self::save) tell
/// what was wrong.
#[must_use = "nothing happens before `run` or `save`"]
pub struct Batch {
    fetcher: Fetcher,
    concurrency: usize,
    checkpoint: Option<PathBuf>,
    retry_failed: bool,
    fail_status: bool,
    robots: Robots,
    method: Method,
    common: Option<Box<Common>>,
    extract: Extract,
    follow: Option<Follow>,
    changes: Vec<Box<Change>>,
    observers: Vec<Box<dyn Observer>>,
    list: Option<Arc<dyn WorkList>>,
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
            robots: Robots::Obey,
            method: Method::GET,
            common: None,
            extract: Extract::new(),
            follow: None,
            changes: Vec::new(),
            observers: Vec::new(),
            list: None,
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
    pub const fn robots(mut self, robots: Robots) -> Self {
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
        add: impl Fn(RequestBuilder) -> RequestBuilder + Send + Sync + 'static,
    ) -> Self {
        self.common = Some(Box::new(add));
        self
    }

    /// What to read out of every page into its record, beside what its target says. Default: nothing.
    pub fn extract(mut self, wanted: Extract) -> Self {
        self.extract = wanted;
        self
    }

    /// Follows links: the batch becomes a crawl, and its list grows while it is done. With a checkpoint, what was
    /// found is kept in it together with the page it was found on. Links are asked for with GET and a Referer, whatever the
    /// page was asked for with; what [`each_request`](Self::each_request) adds goes to the origins of the listed URLs. Where robots.txt is obeyed, `nofollow` is too, of links, pages and headers. Default: none.
    pub fn follow(mut self, links: Follow) -> Self {
        self.follow = Some(links);
        self
    }

    /// What to make of every record before it is written, for instance its `fields`; called on threads that may
    /// block. An error ends the run. Several are called in order.
    pub fn each_record(mut self, change: impl Fn(&mut Record) -> Result<()> + Send + Sync + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// Who is told of every fetch; several are told in order. Default: nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Where the tasks are between being read and being done. Default: [`Local`].
    pub fn work_list(mut self, list: Arc<dyn WorkList>) -> Self {
        self.list = Some(list);
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
        begin::begin(self, input, None)
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
        begin::begin(self, input, Some(output))
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
