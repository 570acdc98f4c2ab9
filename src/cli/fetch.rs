//! `rungs fetch`.

use std::io::{IsTerminal, Write};

use rungs::batch::Record;
use rungs::extract::Extractor;
use rungs::{CookieJar, Fetcher};

use super::args::{FetchArgs, FetchFormat};
use super::captures::PageCaptures;
use super::config;
use super::cookie_file;
use super::exit::{self, Failure};
use super::hsts_file::HstsFile;
use super::output::{body, human, json};
use super::password_prompt;
use super::request_template::RequestTemplate;
use super::runtime::{self, wait_for_interrupt};
use super::signal::DumpOnSignal;
use super::terminal;
use super::transfer::{self, Transfer};

/// Fetches the URLs one after the other. Returns the exit code of the first failure.
pub(crate) fn run(mut args: FetchArgs, quiet: bool) -> Result<u8, Failure> {
    args.urls = transfer::complete_urls(&args)?;
    check(&args)?;
    password_prompt::complete(&mut args.common.request.authentication)?;
    let args = &args;
    let hsts = HstsFile::open(&args.common.network)?;
    let extract = config::extract(&args.extract)?;
    let runtime = runtime::start()?;
    let outcome = runtime.block_on(async {
        let mut dumps = DumpOnSignal::listen()?;
        let builder = config::fetcher_builder(&args.common, &args.urls).await?;
        let fetcher = HstsFile::apply(hsts.as_ref(), builder).build()?;
        let session = config::session(&args.common, &fetcher);
        let outcome = tokio::select! {
            outcome = fetch_all(args, &session, &extract, quiet) => outcome,
            never = dumps.run(&fetcher) => match never {},
            () = wait_for_interrupt() => Ok(exit::INTERRUPTED),
        };
        // The fetch has ended or was dropped. Closing ends its browser too.
        runtime::close(&fetcher).await;
        outcome
    });
    runtime::end(runtime);
    if let (Some(hsts), Ok(_)) = (&hsts, &outcome) {
        hsts.write()?;
    }
    outcome
}

/// Checks the combinations of arguments that clap does not.
fn check(args: &FetchArgs) -> Result<(), Failure> {
    for (flag, files) in [
        ("-o/--output", &args.output.files),
        ("-T/--upload-file", &args.transfer.upload_file),
        ("--screenshot", &args.captures.screenshot),
        ("--pdf", &args.captures.pdf),
    ] {
        if files.len() > args.urls.len() {
            let message = format!("{flag}: {} files for {} URLs", files.len(), args.urls.len());
            return Err(Failure::Usage(message));
        }
    }
    if args.output.format == FetchFormat::Body {
        let options = [
            ("--select", !args.extract.select.is_empty()),
            ("--text", args.extract.text),
            ("--links", args.extract.links),
        ];
        if let Some((flag, _)) = options.into_iter().find(|(_, is_set)| *is_set) {
            return Err(Failure::Usage(format!("{flag} adds to the record: add --format json")));
        }
    }
    if !args.transfer.get {
        config::check_head(&args.common.request)?;
    }
    let etag_files = [&args.transfer.etag_compare, &args.transfer.etag_save];
    if args.urls.len() > 1 && etag_files.into_iter().any(Option::is_some) {
        return Err(Failure::Usage("--etag-compare and --etag-save work with one URL".to_owned()));
    }
    if args.transfer.continue_at.is_some() && args.output.remote_header_name {
        let message = "-C/--continue-at needs the file before the response: use -O without -J, or -o";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(())
}

async fn fetch_all(
    args: &FetchArgs,
    session: &Fetcher,
    extract: &Extractor,
    quiet: bool,
) -> Result<u8, Failure> {
    let sessions = sessions(args, session);
    let template = RequestTemplate::from_args(&args.common, &jars(&sessions))?;
    let template = if args.transfer.get { template.without_body() } else { template };
    let mut code = exit::OK;
    for (index, url) in args.urls.iter().enumerate() {
        let transfer = Transfer::for_url(args, &template, index)?;
        let existed = transfer.replaces_named_file(args, index);
        let request = template.apply(session.request(transfer.method.clone(), &transfer.url));
        let request = transfer.apply(request, args.output.fail).shown_text(args.extract.text);
        let captures = PageCaptures::for_url(&args.captures, index);
        let record = Record::new(url, captures.apply(request).send().await);
        let record = if args.output.format == FetchFormat::Body {
            record
        } else {
            extract_record(record, extract.clone()).await?
        };
        let mut url_code = print_record(args, &transfer, &record, quiet)?;
        if let Ok(page) = record.outcome() {
            if let Some(path) = &args.transfer.etag_save {
                transfer::save_etag(path, page)?;
            }
            let finished = transfer.finish(page, existed, quiet);
            url_code = if url_code == exit::OK { finished } else { url_code };
            let saved = captures.save(url, page)?;
            url_code = if url_code == exit::OK { saved } else { url_code };
        }
        if code == exit::OK {
            code = url_code;
        }
    }
    if let Some(path) = &args.common.request.cookie_jar {
        // Sessions may have been replaced meanwhile. Their jars are written too.
        let replaced = self::sessions(args, session);
        let all: Vec<Fetcher> = sessions.into_iter().chain(replaced).collect();
        cookie_file::write(path, &jars(&all))?;
    }
    Ok(code)
}

/// Adds the extracted values to the record, on a thread for blocking work.
async fn extract_record(mut record: Record, extract: Extractor) -> Result<Record, Failure> {
    let task = tokio::task::spawn_blocking(move || {
        record.extract(&extract);
        record
    });
    task.await.map_err(|cause| Failure::Io("could not extract from the page".to_owned(), cause.into()))
}

/// Returns the session once for each identity that it uses. Targets can give it several identities.
fn sessions(args: &FetchArgs, session: &Fetcher) -> Vec<Fetcher> {
    let mut sessions = vec![session.clone()];
    // The fetch of a wrong URL reports the error.
    for candidate in args.urls.iter().filter_map(|url| session.for_url(url).ok()) {
        if sessions.iter().all(|known| known.identity().key() != candidate.identity().key()) {
            sessions.push(candidate);
        }
    }
    sessions
}

fn jars(sessions: &[Fetcher]) -> Vec<&CookieJar> {
    sessions.iter().flat_map(|session| [session.identity().jar(), session.plain_identity().jar()]).collect()
}

/// Prints one outcome and returns its exit code.
fn print_record(args: &FetchArgs, transfer: &Transfer, record: &Record, quiet: bool) -> Result<u8, Failure> {
    let (outcome, url) = (record.outcome(), &transfer.url);
    let failed_status = match outcome {
        Ok(page) => http_failure(page.status().as_u16(), transfer, args.output.fail),
        Err(_) => None,
    };
    let mut written = true;
    let mut out = terminal::raw_stdout();
    match args.output.format {
        FetchFormat::Json => json::write(&mut out, record, true).map_err(Failure::stdout)?,
        FetchFormat::Jsonl => json::write(&mut out, record, false).map_err(Failure::stdout)?,
        FetchFormat::Body => {
            if let (Ok(page), None) = (outcome, failed_status) {
                let include = args.output.include || args.common.request.head;
                let terminal = std::io::stdout().is_terminal();
                written = body::write(&mut out, page, include, terminal).map_err(Failure::stdout)?;
            }
        }
    }
    out.flush().map_err(Failure::stdout)?;
    let mut stderr = terminal::stderr();
    if args.output.trace
        && !quiet
        && let Ok(page) = outcome
    {
        let _ = human::write_success(&mut stderr, url, page);
    }
    Ok(match (outcome, failed_status) {
        (Err(error), _) => {
            let _ = human::write_failure(&mut stderr, url, error, args.output.trace);
            exit::code(error.kind())
        }
        (Ok(page), Some(code)) => {
            let _ = writeln!(stderr, "error: {} answered {}", human::display_url(url), page.status());
            code
        }
        (Ok(_), None) if !written => {
            let shown = human::display_url(url);
            let _ = writeln!(
                stderr,
                "error: the body of {shown} is binary and was not written to the terminal; use -o FILE or a pipe"
            );
            exit::USAGE
        }
        (Ok(_), None) => exit::OK,
    })
}

fn http_failure(status: u16, transfer: &Transfer, fail: bool) -> Option<u8> {
    match status {
        0..400 => None,
        _ if !transfer.is_failure(status, fail) => None,
        400..500 => Some(exit::HTTP_4XX),
        _ => Some(exit::HTTP_5XX),
    }
}
