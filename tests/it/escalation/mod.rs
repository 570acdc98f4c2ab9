//! When a fetch retries, waits, escalates to the next tier and stops.

#[cfg(feature = "browser")]
mod all_tiers;
mod cancellation;
mod decisions;
mod rate_limits;
mod robots;
#[cfg(feature = "browser")]
mod unreadable;
mod unsafe_methods;
