//! The lab: a recorder that hears what a client says, and the demo origin.
//!
//! Everything listens on loopback only.

mod authority;
mod bare;
#[cfg(test)]
mod caller;
mod capture;
mod challenge;
mod chromium;
mod control;
mod devtools;
mod drive;
mod habits;
mod hellos;
mod merge;
mod origin;
#[doc(hidden)]
pub mod parts;
mod record;
mod recorder;
mod reference;
mod reply;
mod scenario;
mod serve;
mod sites;
mod tee;
mod verify;
mod week;

pub use authority::Authority;
pub use bare::Bare;
pub use capture::capture;
pub use challenge::{Ending, Manner};
pub use chromium::{Chromium, Launch};
pub use control::Control;
pub use drive::{Recording, Stage};
pub use origin::{Origin, SITES};
pub use record::{Client, Connection, Heard, HeardRequest};
pub use recorder::{Recorder, RecorderBuilder};
pub use reference::{Reference, RequestShape};
pub use reply::Reply;
pub use sites::{CLEARANCE_COOKIE, Counts};
pub use verify::{Count, Difference, Exception, Layer, Report, verify};
pub use week::{Manners, Week, week};
