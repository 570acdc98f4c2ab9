//! `rungs generate man|markdown|complete-SHELL|target-schema|dialect-schema`.

mod markdown;

use std::io::Write;

use clap::ValueEnum;
use clap_complete::Shell;

use super::exit::{self, Failure};
use super::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// Artifact: man, markdown, complete-SHELL, target-schema, dialect-schema
    ///
    /// man: the man page. markdown: the command-line reference. complete-SHELL: completions for bash, elvish, fish,
    /// powershell or zsh. target-schema and dialect-schema: JSON schemas for editors.
    #[arg(value_name = "WHAT", value_parser = parse_artifact)]
    what: Artifact,
}

#[derive(Clone, Copy, Debug)]
enum Artifact {
    Man,
    Markdown,
    TargetSchema,
    DialectSchema,
    Complete(Shell),
}

pub(crate) fn run(args: &GenerateArgs, mut command: clap::Command) -> Result<u8, Failure> {
    let mut text = Vec::new();
    match args.what {
        Artifact::Man => {
            command.build();
            render_man(&command, &mut text).map_err(Failure::stdout)?;
        }
        Artifact::Markdown => {
            command.build();
            text = markdown::render(&command).into_bytes();
        }
        Artifact::TargetSchema => text = to_json(&rungs::target::schema())?,
        Artifact::DialectSchema => text = to_json(&rungs::Dialect::schema())?,
        Artifact::Complete(shell) => clap_complete::generate(shell, &mut command, "rungs", &mut text),
    }
    terminal::raw_stdout().write_all(&text).map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn parse_artifact(text: &str) -> Result<Artifact, String> {
    match text {
        "man" => return Ok(Artifact::Man),
        "markdown" => return Ok(Artifact::Markdown),
        "target-schema" => return Ok(Artifact::TargetSchema),
        "dialect-schema" => return Ok(Artifact::DialectSchema),
        _ => {}
    }
    let shell = text.strip_prefix("complete-").and_then(|name| Shell::from_str(name, false).ok());
    shell.map(Artifact::Complete).ok_or_else(|| {
        let shells: Vec<String> =
            Shell::value_variants().iter().map(|shell| format!("complete-{shell}")).collect();
        format!("expected man, markdown, target-schema, dialect-schema, {}", shells.join(", "))
    })
}

fn to_json(schema: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    let mut text = serde_json::to_vec_pretty(schema).map_err(|cause| Failure::stdout(cause.into()))?;
    text.push(b'\n');
    Ok(text)
}

/// Renders one man page. Each subcommand is a section with subsections.
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
    let mut section = Vec::new();
    page.render_synopsis_section(&mut section)?;
    page.render_description_section(&mut section)?;
    page.render_options_section(&mut section)?;
    if command.get_after_help().is_some() {
        page.render_extra_section(&mut section)?;
    }
    for line in String::from_utf8_lossy(&section).lines() {
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
