//! `rungs generate man|complete-SHELL`.

use std::io::Write;

use clap::CommandFactory;

use super::args::{Args, Generate, What};
use super::exit::{self, Failure};

pub(crate) fn run(args: &Generate) -> Result<u8, Failure> {
    let mut command = Args::command();
    let mut text = Vec::new();
    match args.what {
        What::Man => {
            command.build();
            man(&command, &mut text).map_err(Failure::stdout)?;
        }
        What::Complete(shell) => clap_complete::generate(shell, &mut command, "rungs", &mut text),
    }
    std::io::stdout().lock().write_all(&text).map_err(Failure::stdout)?;
    Ok(exit::OK)
}

/// One page for the program and all its subcommands.
fn man(command: &clap::Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(out)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let page = clap_mangen::Man::new(sub.clone());
        writeln!(out, ".SH {}", sub.get_name().to_uppercase())?;
        page.render_description_section(out)?;
        page.render_options_section(out)?;
    }
    Ok(())
}
