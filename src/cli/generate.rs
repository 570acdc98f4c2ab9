//! `rungs generate man|complete-SHELL|target-schema|dialect-schema`.

use std::io::Write;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::exit::{self, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// `man`, or `complete-` and the name of a shell.
    #[arg(value_name = "WHAT", value_parser = parse_artifact)]
    what: Artifact,
}

#[derive(Clone, Copy, Debug)]
enum Artifact {
    Man,
    TargetSchema,
    DialectSchema,
    Complete(Shell),
}

pub(crate) fn run(args: &GenerateArgs) -> Result<u8, Failure> {
    let mut command = super::args::Cli::command();
    let mut text = Vec::new();
    match args.what {
        Artifact::Man => {
            command.build();
            render_man(&command, &mut text).map_err(Failure::stdout)?;
        }
        Artifact::TargetSchema => text = to_json(&rungs::target::schema())?,
        Artifact::DialectSchema => text = to_json(&rungs::Dialect::schema())?,
        Artifact::Complete(shell) => clap_complete::generate(shell, &mut command, "rungs", &mut text),
    }
    std::io::stdout().lock().write_all(&text).map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn parse_artifact(text: &str) -> Result<Artifact, String> {
    match text {
        "man" => return Ok(Artifact::Man),
        "target-schema" => return Ok(Artifact::TargetSchema),
        "dialect-schema" => return Ok(Artifact::DialectSchema),
        _ => {}
    }
    let shell = text.strip_prefix("complete-").and_then(|name| Shell::from_str(name, false).ok());
    shell.map(Artifact::Complete).ok_or_else(|| {
        let shells: Vec<String> =
            Shell::value_variants().iter().map(|shell| format!("complete-{shell}")).collect();
        format!("expected man, target-schema, dialect-schema, {}", shells.join(", "))
    })
}

fn to_json(schema: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    let mut text = serde_json::to_vec_pretty(schema).map_err(|cause| Failure::stdout(cause.into()))?;
    text.push(b'\n');
    Ok(text)
}

/// One page for the program and all its subcommands, each a section whose parts are indented.
fn render_man(command: &clap::Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_options_section(out)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        render_section(sub, out)?;
    }
    page.render_version_section(out)
}

fn render_section(command: &clap::Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_uppercase();
    writeln!(out, ".SH \"{name}\"")?;
    let page = clap_mangen::Man::new(command.clone());
    let mut parts = Vec::new();
    page.render_synopsis_section(&mut parts)?;
    page.render_description_section(&mut parts)?;
    page.render_options_section(&mut parts)?;
    if command.get_after_help().is_some() {
        page.render_extra_section(&mut parts)?;
    }
    for line in String::from_utf8_lossy(&parts).lines() {
        match line.strip_prefix(".SH ") {
            Some(title) => writeln!(out, ".SS {title}")?,
            None => writeln!(out, "{line}")?,
        }
    }
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        render_section(sub, out)?;
    }
    Ok(())
}
