//! The program with all its commands, as clap parses them.

use clap::{ArgAction, Parser, Subcommand};

use super::args::{BatchArgs, FetchArgs};
use super::{detect, diagnose, doctor, generate, lab, memory, profile, proxy, target};

/// Fetch web pages by the cheapest means that each site allows
#[derive(Debug, Parser)]
#[command(name = "rungs", version, max_term_width = 100, args_override_self = true)]
pub(crate) struct Cli {
    /// Log to stderr; -vv for details
    ///
    /// -v logs attempts, -vv details, -vvv everything. Default: warnings.
    #[arg(short, long, action = ArgAction::Count, global = true, display_order = 900)]
    pub(crate) verbose: u8,

    /// Print errors only
    #[arg(short, long, global = true, display_order = 901)]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch pages
    ///
    /// All URLs of one command share connections and identity.
    Fetch(Box<FetchArgs>),
    /// Fetch many pages, resuming an earlier run
    ///
    /// The checkpoint records finished URLs. The same command again continues after them.
    Batch(Box<BatchArgs>),
    /// List, show, check and capture browser profiles
    Profile(profile::ProfileArgs),
    /// List, show and check targets (settings of one site)
    Target(target::TargetArgs),
    /// List proxy dialects, render credentials, check proxies
    Proxy(Box<proxy::ProxyArgs>),
    /// Show, clear, export and import host memory
    Memory(memory::MemoryArgs),
    /// Classify a saved response, with evidence
    ///
    /// The input is an HTTP response with status line and headers, saved as a file.
    Detect(detect::DetectArgs),
    /// Find out why a site blocks fetches
    ///
    /// Sends a series of probes to one URL. Each differs from another one in a single point, and is a client of its own.
    /// The report lists the probes that passed and the probable cause of the others.
    ///
    /// Probes run one at a time, with a pause between them. --dry-run prints the maximum number of requests. A Retry-After
    /// of up to 30 s is waited out; a longer one ends the diagnosis.
    Diagnose(Box<diagnose::DiagnoseArgs>),
    /// Check the tiers on this machine
    ///
    /// Reports the installed software, the state of each tier, and a fix for each problem. Sends nothing.
    Doctor(doctor::DoctorArgs),
    /// Serve a loopback page with the client's fingerprints
    ///
    /// The response shows how the client looks on the wire: ClientHello, JA3, JA4, HTTP/2 frames and headers.
    Lab(lab::LabArgs),
    /// Print man page, completions, schemas or reference
    Generate(generate::GenerateArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn short_help_has_one_line_per_option() {
        let mut command = Cli::command();
        command.build();
        assert_one_line(&command);
    }

    /// Asserts that no entry of `-h` continues on another line. Continuations have a deep indent and no option.
    fn assert_one_line(command: &clap::Command) {
        let help = command.clone().term_width(100).render_help().to_string();
        let wrapped: Vec<&str> = help
            .lines()
            .filter(|line| line.starts_with("          ") && !line.trim_start().starts_with('-'))
            .collect();
        assert!(wrapped.is_empty(), "{}: {wrapped:#?}", command.get_name());
        command.get_subcommands().for_each(assert_one_line);
    }
}
