//! `rungs batch` and crawls.

mod crawl;
mod run;
