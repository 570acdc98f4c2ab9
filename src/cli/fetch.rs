//! `rungs fetch`.

use std::io::{IsTerminal, Write};
use std::path::Path;

use rungs::batch::Record;
use rungs::extract::Extract;
use rungs::{Fetcher, Jar};

use super::args::{Fetch, Format};
use super::cookie_file;
use super::exit::{self, Failure};
use super::in_flight::Asked;
use super::output::{body, json, story};
use super::pictures::Pictures;
use super::plan::Plan;
use super::runtime::{self, interrupted};
use super::settings;

/// Fetches every URL in turn; the exit code is that of the first failure.
pub(crate) fn run(args: &Fetch, quiet: bool) -> Result<u8, Failure> {
    for (flag, files) in [
        ("-o/--output", &args.output.files),
        ("--screenshot", &args.pictures.screenshot),
        ("--pdf", &args.pictures.pdf),
    ] {
        if files.len() > args.urls.len() {
            let message = format!("{flag}: {} files for {} URLs", files.len(), args.urls.len());
            return Err(Failure::Usage(message));
        }
    }
    if args.output.format == Format::Body {
        let asked = [
            ("--select", !args.reading.select.is_empty()),
            ("--text", args.reading.text),
            ("--links", args.reading.links),
        ];
        if let Some((flag, _)) = asked.into_iter().find(|(_, is_asked)| *is_asked) {
            return Err(Failure::Usage(format!("{flag} puts something into the record: add --format json")));
        }
    }
    let extract = settings::extract(&args.reading)?;
    let runtime = runtime::start()?;
    let outcome = runtime.block_on(async {
        let mut asked = Asked::listen()?;
        let fetcher = settings::fetcher(&args.common, &args.urls).await?.build()?;
        let session = settings::session(&args.common, &fetcher);
        let outcome = tokio::select! {
            outcome = all(args, &session, &extract, quiet) => outcome,
            never = asked.answer(&fetcher) => match never {},
            () = interrupted() => Ok(exit::INTERRUPTED),
        };
        // The fetch is over or dropped: nothing may outlive the program.
        runtime::close(&fetcher).await;
        outcome
    });
    runtime.shutdown_background();
    outcome
}

async fn all(args: &Fetch, session: &Fetcher, extract: &Extract, quiet: bool) -> Result<u8, Failure> {
    let sessions = sessions(args, session);
    let plan = Plan::read(&args.common, &jars(&sessions))?;
    let mut code = exit::OK;
    for (at, url) in args.urls.iter().enumerate() {
        let file =
            args.output.files.get(at).map(AsRef::as_ref).filter(|path: &&Path| *path != Path::new("-"));
        let request = plan.add(session.request(plan.method.clone(), url));
        let request = match file {
            Some(path) if args.output.fail => request.save_success(path),
            Some(path) => request.save(path),
            None => request,
        };
        let pictures = Pictures::of(&args.pictures, at);
        let record = Record::new(url, pictures.ask(request).send().await);
        let record =
            if args.output.format == Format::Body { record } else { read(record, extract.clone()).await? };
        let mut ended = show(args, url, &record, quiet)?;
        if let Ok(page) = record.outcome() {
            let saved = pictures.save(url, page)?;
            ended = if ended == exit::OK { saved } else { ended };
        }
        if code == exit::OK {
            code = ended;
        }
    }
    if let Some(path) = &args.common.request.cookie_jar {
        // Sessions may have been replaced meanwhile: theirs too.
        let replaced = self::sessions(args, session);
        let all: Vec<Fetcher> = sessions.into_iter().chain(replaced).collect();
        cookie_file::write(path, &jars(&all))?;
    }
    Ok(code)
}

/// Puts into the record what is read out of its page, on a thread that may take its time.
async fn read(mut record: Record, extract: Extract) -> Result<Record, Failure> {
    let reading = tokio::task::spawn_blocking(move || {
        record.extract(&extract);
        record
    });
    reading.await.map_err(|cause| Failure::Io("could not read the page".to_owned(), cause.into()))
}

/// The session as it asks for each of the URLs: targets may give it several identities.
fn sessions(args: &Fetch, session: &Fetcher) -> Vec<Fetcher> {
    let mut sessions = vec![session.clone()];
    // A URL that is wrong is told of when its turn comes.
    for toward in args.urls.iter().filter_map(|url| session.toward(url).ok()) {
        if sessions.iter().all(|known| known.identity().key() != toward.identity().key()) {
            sessions.push(toward);
        }
    }
    sessions
}

fn jars(sessions: &[Fetcher]) -> Vec<&Jar> {
    sessions.iter().flat_map(|session| [session.identity().jar(), session.plain_identity().jar()]).collect()
}

/// Prints one outcome and returns its exit code.
fn show(args: &Fetch, url: &str, record: &Record, quiet: bool) -> Result<u8, Failure> {
    let outcome = record.outcome();
    let failed_status = match outcome {
        Ok(page) if args.output.fail => http_failure(page.status().as_u16()),
        _ => None,
    };
    let mut written = true;
    let mut out = std::io::stdout().lock();
    match args.output.format {
        Format::Json => json::write(&mut out, record, true).map_err(Failure::stdout)?,
        Format::Jsonl => json::write(&mut out, record, false).map_err(Failure::stdout)?,
        Format::Body => {
            if let (Ok(page), None) = (outcome, failed_status) {
                let include = args.output.include || args.common.request.head;
                let terminal = std::io::stdout().is_terminal();
                written = body::write(&mut out, page, include, terminal).map_err(Failure::stdout)?;
            }
        }
    }
    out.flush().map_err(Failure::stdout)?;
    let mut talk = std::io::stderr().lock();
    if args.output.trace
        && !quiet
        && let Ok(page) = outcome
    {
        let _ = story::succeeded(&mut talk, url, page);
    }
    Ok(match (outcome, failed_status) {
        (Err(error), _) => {
            let _ = story::failed(&mut talk, url, error, args.output.trace);
            exit::code(error.kind())
        }
        (Ok(page), Some(code)) => {
            let _ = writeln!(talk, "error: {} answered {}", story::shown(url), page.status());
            code
        }
        (Ok(_), None) if !written => {
            let shown = story::shown(url);
            let _ = writeln!(
                talk,
                "error: the body of {shown} is binary and would garble the terminal; use -o FILE or a pipe"
            );
            exit::USAGE
        }
        (Ok(_), None) => exit::OK,
    })
}

fn http_failure(status: u16) -> Option<u8> {
    match status {
        0..400 => None,
        400..500 => Some(exit::HTTP_4XX),
        _ => Some(exit::HTTP_5XX),
    }
}
