//! `rungs batch` and crawls.

mod archive;
mod crawl;
mod links;
mod replay;
mod run;
mod traps;
