//! The command line: arguments, commands and output.

mod app;
mod args;
mod batch;
mod captures;
mod client_certificate;
mod config;
mod connect;
mod cookie_file;
mod curl_line;
mod date;
mod detect;
mod diagnose;
mod doctor;
mod exit;
mod fetch;
mod generate;
mod hsts_file;
mod lab;
mod log;
mod memory;
mod metrics;
#[cfg(feature = "otel")]
mod otel;
#[cfg(not(feature = "otel"))]
#[path = "otel/disabled.rs"]
mod otel;
mod output;
mod password;
mod password_prompt;
mod profile;
mod progress;
mod proxy;
mod proxy_pool;
mod request_body;
mod request_template;
mod rlimit;
mod runtime;
mod signal;
mod target;
mod terminal;
mod transfer;
mod url_guess;
mod value_enums;
mod values;

use std::process::ExitCode;

use clap::error::ErrorKind as ClapError;
use clap::{CommandFactory, Parser};

use app::{Cli, Command};

/// Prints help, or the error in the arguments. A closed pipe is not a failure.
fn print_usage(error: &clap::Error) {
    let text = error.render().to_string();
    // The error repeats arguments. A script may take them from a web page.
    if text.contains(|c| !matches!(c, '\n' | '\t') && rungs::redact::is_harmful(c)) {
        terminal::print_message(text.trim_end());
    } else {
        let _ = error.print();
    }
}

/// Runs the program. Writes data to stdout and messages to stderr.
pub(crate) fn main() -> ExitCode {
    let args = match curl_line::expand(std::env::args_os()) {
        Ok(args) => args,
        Err(failure) => {
            failure.print();
            return failure.code().into();
        }
    };
    let args = match Cli::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let is_help = matches!(error.kind(), ClapError::DisplayHelp | ClapError::DisplayVersion);
            print_usage(&error);
            return if is_help { ExitCode::SUCCESS } else { exit::USAGE.into() };
        }
    };
    let spans = log::start(args.verbose, args.quiet);
    rlimit::raise_open_files();
    let outcome = match args.command {
        Command::Fetch(fetch) => fetch::run(*fetch, args.quiet),
        Command::Batch(batch) => batch::run(*batch, args.quiet),
        Command::Profile(profile) => profile::run(&profile, args.quiet),
        Command::Target(target) => target::run(&target),
        Command::Proxy(proxy) => proxy::run(&proxy),
        Command::Memory(memory) => memory::run(&memory, args.quiet),
        Command::Detect(detect) => detect::run(&detect),
        Command::Diagnose(diagnose) => diagnose::run(&diagnose),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Lab(lab) => lab::run(&lab),
        Command::Generate(generate) => generate::run(&generate, Cli::command()),
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
