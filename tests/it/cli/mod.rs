//! The command line: output, exit codes, subcommands, reports and spans.

mod bad_input;
mod cookie_files;
mod curl;
mod curl_downloads;
mod diagnose;
mod hsts;
mod lab;
mod observability;
#[cfg(feature = "otel")]
mod otel;
mod output;
mod output_files;
mod password_prompt;
mod profile;
mod profile_capture;
mod profile_verify;
mod snapshots;
mod spans;
mod targets;
