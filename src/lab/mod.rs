//! The lab: a recorder that hears what a client says, and the demo origin.
//!
//! Everything listens on loopback only.

mod authority;
mod chromium;
mod record;
mod recorder;
mod reply;
mod serve;
mod tee;

pub use authority::Authority;
pub use chromium::{Chromium, Launch};
pub use record::{Client, Connection, Heard, HeardRequest};
pub use recorder::{Recorder, RecorderBuilder};
pub use reply::Reply;
