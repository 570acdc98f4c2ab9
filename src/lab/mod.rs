//! The lab: a recorder of client traffic, and the demo origin.
//!
//! Everything listens on loopback only.

mod authority;
#[doc(hidden)]
pub mod bench_parts;
mod capture;
mod challenge;
mod chromium;
mod control_frame;
mod devtools;
mod driver;
mod engine_only;
mod hellos;
mod hpack_style;
mod merge_profiles;
mod origin;
mod recorder;
mod recording;
mod reference;
mod reply;
mod scenario;
mod serve;
mod simulation;
mod sites;
mod tap;
#[cfg(test)]
mod test_client;
mod verify;

pub use authority::Authority;
pub use capture::capture;
pub use challenge::{ChallengeMode, ChallengeOutcome};
pub use chromium::{Chromium, LaunchOptions};
pub use control_frame::ControlFrame;
pub use driver::{RecorderSet, Recording};
#[doc(hidden)]
pub use engine_only::EngineOnly;
pub use origin::{DemoOrigin, SITES};
pub use recorder::{Recorder, RecorderBuilder};
pub use recording::{Client, Exchange, RecordedConnection, RecordedRequest};
pub use reference::{Reference, RequestShape};
pub use reply::Reply;
#[doc(hidden)]
pub use simulation::{SimulatedChallenge, SimulationCost, Strategy, simulate_week, simulate_week_with};
pub use sites::{CLEARANCE_COOKIE, SiteCounters};
pub use verify::{Exception, FingerprintLayer, LayerDifference, RecordingCount, VerifyReport, verify};
