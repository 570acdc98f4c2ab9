//! Fetches many URLs from a file, prints each result as it arrives, and logs every attempt.
//!
//! `cargo run --example batch -- urls.txt`. The same command resumes an interrupted run.

use rungs::batch::{Batch, FetchRef, Observer, Record};
use rungs::{Attempt, Fetcher, Result, Tier};

struct Log;

impl Observer for Log {
    fn on_attempt(&self, fetch: &FetchRef<'_>, attempt: &Attempt) {
        eprintln!("#{} {} {:?} in {:?}", fetch.id, attempt.tier, attempt.status, attempt.elapsed);
    }

    fn on_finish(&self, fetch: &FetchRef<'_>, record: &Record) {
        eprintln!("#{} {}: {:?}", fetch.id, fetch.host, record.record_status(false));
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: batch FILE");
        return Ok(());
    };
    let fetcher = Fetcher::builder().max_tier(Tier::Impersonate).build()?;
    let batch = Batch::new(fetcher.clone()).concurrency(16).checkpoint(format!("{file}.ckpt")).observer(Log);
    let mut run = batch.run_input(rungs::batch::Input::file(file)?)?;
    while let Some(done) = run.next().await {
        match done.result {
            Ok(page) => println!("{} {} by {}", done.url, page.status(), page.tier()),
            Err(error) => println!("{} {}", done.url, error.chain()),
        }
    }
    println!("{:?}", run.finish().await?.progress.counters);
    fetcher.close().await;
    Ok(())
}
