//! The command line: output, exit codes, subcommands, reports and spans.

mod bad_input;
mod cookie_files;
mod diagnose;
mod lab;
mod observability;
#[cfg(feature = "otel")]
mod otel;
mod output;
mod output_files;
mod profile;
mod profile_capture;
mod profile_verify;
mod snapshots;
mod spans;
mod targets;
