//! What was typed, then what to do, then how it is shown.

mod args;
mod batch;
mod cookie_file;
mod descriptors;
mod detect;
mod diagnose;
mod doctor;
mod exit;
mod exits;
mod fetch;
mod generate;
mod in_flight;
mod lab;
mod log;
mod memory;
mod metrics;
mod names;
#[cfg(feature = "otel")]
mod otel;
#[cfg(not(feature = "otel"))]
#[path = "otel/absent.rs"]
mod otel;
mod output;
mod password;
mod pictures;
mod plan;
mod profile;
mod progress;
mod proxy;
mod runtime;
mod settings;
mod target;
mod whole;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind as ClapError;

use args::{Args, Command};

/// Runs the program: stdout is data, stderr is talk.
pub(crate) fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let asked = matches!(error.kind(), ClapError::DisplayHelp | ClapError::DisplayVersion);
            // A reader that went away is no failure of ours.
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { exit::USAGE.into() };
        }
    };
    let spans = log::start(args.verbose, args.quiet);
    descriptors::raise();
    let outcome = match args.command {
        Command::Fetch(fetch) => fetch::run(&fetch, args.quiet),
        Command::Batch(batch) => batch::run(&batch, args.quiet),
        Command::Profile(profile) => profile::run(&profile, args.quiet),
        Command::Target(target) => target::run(&target),
        Command::Proxy(proxy) => proxy::run(&proxy),
        Command::Memory(memory) => memory::run(&memory, args.quiet),
        Command::Detect(detect) => detect::run(&detect),
        Command::Diagnose(diagnose) => diagnose::run(&diagnose),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Lab(lab) => lab::run(&lab),
        Command::Generate(generate) => generate::run(&generate),
    };
    let code = outcome.unwrap_or_else(|failure| {
        if !failure.is_broken_pipe() {
            failure.print();
        }
        failure.code()
    });
    spans.flush();
    code.into()
}
