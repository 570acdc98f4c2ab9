//! `rungs detect`: what a saved answer is, and why.

use std::io::{Read, Write};
use std::path::Path;

use rungs::detect::{Rules, saved};
use rungs::redact;

use super::args::Detect;
use super::exit::{self, Failure};

pub(crate) fn run(args: &Detect) -> Result<u8, Failure> {
    let rules = Rules::shipped();
    let mut out = std::io::stdout().lock();
    let Some(file) = args.file.as_deref().filter(|_| !args.rules) else {
        for rule in rules.list() {
            let from = redact::terminal(&rule.source);
            writeln!(out, "{:<34} {:<12} {:.2}  {from} ({})", rule.id, rule.kind, rule.confidence, rule.seen)
                .map_err(Failure::stdout)?;
        }
        return Ok(exit::OK);
    };
    let bytes = read(file)?;
    let answer = saved::parse(&bytes)
        .map_err(|error| Failure::Usage(format!("{}: {}", file.display(), error.chain())))?;
    let url = rungs::parse_url(&args.url)?;
    let verdict = rules.judge(&answer.seen(&url));
    if args.json {
        let text = serde_json::to_string(&verdict).map_err(|cause| Failure::stdout(cause.into()))?;
        writeln!(out, "{text}").map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    writeln!(out, "{verdict} (confidence {:.2})", verdict.confidence).map_err(Failure::stdout)?;
    for found in &verdict.evidence {
        let (place, text) = (redact::terminal(&found.place), redact::terminal(&found.text));
        writeln!(out, "  {} in {place}: {text}", found.rule).map_err(Failure::stdout)?;
    }
    Ok(exit::OK)
}

/// The file, or stdin for `-`, up to a bound.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_SAVED).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_SAVED).read_to_end(&mut bytes))
    };
    read.map_err(|cause| Failure::Io(format!("could not read {}", file.display()), cause))?;
    Ok(bytes)
}

/// Far beyond what a verdict looks at.
const MAX_SAVED: u64 = 64 * 1024 * 1024;
