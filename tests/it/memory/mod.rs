//! What one run learns about a host and the next run uses.

#[cfg(feature = "browser")]
mod clearance;
#[cfg(feature = "browser")]
mod clearance_across_runs;
mod false_alarms;
mod learning;
mod store;
