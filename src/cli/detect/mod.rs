//! `rungs detect`: classifies saved responses.

use std::path::PathBuf;

use rungs::detect::{Expectation, ResponseView, Rules};
use url::Url;

use self::input::Saved;
use self::print::Judgement;
use super::args::VerdictArgs;
use super::config;
use super::exit::{self, Failure};
use super::terminal::print_message;
use super::value_enums::{OutputFormat, TierArg};

mod input;
mod print;

#[derive(Debug, clap::Args)]
pub(crate) struct DetectArgs {
    /// Saved responses, pages, HAR files, or folders of them; - for stdin
    ///
    /// A response has its status line and headers, as curl -i prints it. A page (.html) counts as a 200. A folder is
    /// searched with its subfolders; files of other kinds are skipped.
    #[arg(value_name = "FILE", required_unless_present_any = ["rules", "har"])]
    files: Vec<PathBuf>,

    /// HAR file, as developer tools save it; - for stdin
    ///
    /// Each response is judged, with the redirects that led to it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "url", "requested"])]
    har: Option<PathBuf>,

    /// URL of the response
    #[arg(long, default_value = "https://site.invalid/")]
    url: String,

    /// Requested URL, before redirects. Default: --url
    #[arg(long, value_name = "URL")]
    requested: Option<String>,

    /// Tier that fetched it
    #[arg(long, value_enum)]
    tier: Option<TierArg>,

    /// The response came through a proxy
    ///
    /// The response may then be the proxy's own page.
    #[arg(long)]
    via_proxy: bool,

    /// Show what the structural detector sees, and rules that nearly fired
    ///
    /// Features of the page and the score of each kind, whatever the rules say; and rules of which all conditions hold
    /// but one.
    #[arg(long, conflicts_with = "rules")]
    explain: bool,

    /// List the block rules instead
    #[arg(long)]
    rules: bool,

    /// Output format
    ///
    /// With --rules, a folder, a HAR file or several files, json is one object per line.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,

    #[command(flatten)]
    verdict: VerdictArgs,
}

pub(crate) fn run(args: &DetectArgs) -> Result<u8, Failure> {
    let rules = config::rules(&args.verdict)?;
    if args.rules {
        return print::list_rules(&rules, args.format);
    }
    let url = rungs::parse_url(&args.url)?;
    let judge = Judge {
        args,
        rules,
        expect: config::expectation(&args.verdict)?,
        requested: args.requested.as_deref().map_or_else(|| Ok(url.clone()), rungs::parse_url)?,
        url,
    };
    let only = match (&args.har, args.files.as_slice()) {
        (Some(har), _) => input::read_har(har)?,
        (None, [file]) if !file.is_dir() => input::read(file)?,
        _ => return judge.judge_files(),
    };
    judge.judge_saved(None, &only)?;
    Ok(exit::OK)
}

/// What all responses are judged by.
struct Judge<'a> {
    args: &'a DetectArgs,
    rules: Rules,
    expect: Expectation,
    url: Url,
    requested: Url,
}

impl Judge<'_> {
    /// Judges files and folders. What cannot be read is named, and the rest is judged.
    fn judge_files(&self) -> Result<u8, Failure> {
        let mut code = exit::OK;
        let mut skipped = 0;
        for found in input::find_files(&self.args.files) {
            let name = found.path.display().to_string();
            let judged = match found.cause {
                Some(cause) => Err(Failure::Io(format!("could not read {name}"), cause)),
                None => input::read(&found.path).and_then(|saved| match saved {
                    Saved::Other(_) if !found.is_named => {
                        skipped += 1;
                        Ok(())
                    }
                    saved => self.judge_saved(Some(&name), &saved),
                }),
            };
            match judged {
                Err(failure) if failure.is_broken_pipe() => return Err(failure),
                Err(failure) => {
                    failure.print();
                    code = exit::FAILED;
                }
                Ok(()) => {}
            }
        }
        if skipped > 0 {
            print_message(&format!(
                "skipped {skipped} files that are neither responses, pages nor HAR files"
            ));
        }
        Ok(code)
    }

    /// Judges the responses of a file. `name` is the file's, where there are several.
    fn judge_saved(&self, name: Option<&str>, saved: &Saved) -> Result<(), Failure> {
        match saved {
            Saved::One(page) => {
                let view = ResponseView { requested: &self.requested, ..page.view(&self.url) };
                self.judge(name, false, view)
            }
            Saved::Har(har) => {
                for response in &har.responses {
                    self.judge(name, true, response.view())?;
                }
                if har.skipped > 0 {
                    print_message(&format!("skipped {} requests without an HTTP response", har.skipped));
                }
                Ok(())
            }
            Saved::Other(error) => Err(Failure::Usage(error.clone())),
        }
    }

    /// Judges a response and prints the verdict.
    fn judge(&self, file: Option<&str>, show_url: bool, view: ResponseView<'_>) -> Result<(), Failure> {
        let DetectArgs { tier, via_proxy, explain, format, .. } = *self.args;
        let view = &ResponseView { tier: tier.map(Into::into), via_proxy, ..view };
        let judgement = Judgement {
            file,
            url: show_url.then_some(view.url.as_str()),
            status: view.status,
            verdict: self.rules.classify_with_expectation(view, &self.expect),
            near_rules: explain.then(|| self.rules.near_rules(view)),
            structure: explain.then(|| self.rules.explain_structure(view)),
        };
        print::print_judgement(&judgement, format)
    }
}
