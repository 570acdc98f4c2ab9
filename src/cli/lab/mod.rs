//! `rungs lab`: a loopback page with the fingerprints of the client that requests it.

mod page;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rungs::lab::{Authority, Exchange, RecordedConnection, RecordedRequest, Recorder, Reply};
use rungs::output_file::{self, FileMode};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{self, Failure};
use super::runtime;
use super::terminal;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Request it with any client, for example `curl --cacert FILE https://localhost:PORT/json`. \
The HTML page is /. Ctrl-C ends the server.")]
pub(crate) struct LabArgs {
    /// Address to listen on
    ///
    /// The address is 127.0.0.1. Port 0 selects a free port.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// File for the CA certificate (PEM)
    ///
    /// Clients must trust this certificate. Default: a temporary file.
    #[arg(long, value_name = "FILE")]
    cert_out: Option<PathBuf>,
}

pub(crate) fn run(args: &LabArgs) -> Result<u8, Failure> {
    if args.listen.ip() != Ipv4Addr::LOCALHOST {
        let message = format!("--listen: the lab listens on 127.0.0.1 only, not on {}", args.listen.ip());
        return Err(Failure::Usage(message));
    }
    let runtime = runtime::start()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &LabArgs) -> Result<u8, Failure> {
    let authority = Arc::new(Authority::new(&["localhost", "127.0.0.1", "*.test"])?);
    let recorder = Recorder::builder()
        .port(args.listen.port())
        .tls(Arc::clone(&authority), &["h2", "http/1.1"])
        .start(build_reply)
        .await?;
    // Installed before the URL is printed: a reader of the URL may send a signal at once.
    let signals =
        |kind| signal(kind).map_err(|cause| Failure::Io("could not listen for signals".to_owned(), cause));
    let (mut interrupt, mut terminate) =
        (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
    let (path, _temporary) = write_certificate(args.cert_out.as_deref(), authority.ca_pem())?;
    // By name: for an address a client sends no SNI, and its fingerprint differs.
    let url = format!("https://localhost:{}/", recorder.addr().port());
    let mut out = terminal::stdout();
    writeln!(out, "url {url}\nca  {}", path.display()).and_then(|()| out.flush()).map_err(Failure::stdout)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(exit::OK)
}

/// Writes the CA certificate. A temporary file is deleted when the returned value is dropped.
fn write_certificate(
    file: Option<&Path>,
    pem: &str,
) -> Result<(PathBuf, Option<tempfile::NamedTempFile>), Failure> {
    if let Some(file) = file {
        let failed = |cause| Failure::Io(format!("--cert-out: could not write {}", file.display()), cause);
        output_file::write(file, pem.as_bytes(), FileMode::Ordinary).map_err(failed)?;
        return Ok((file.to_owned(), None));
    }
    let write = || {
        let mut file = tempfile::Builder::new().prefix("rungs-lab-").suffix(".pem").tempfile()?;
        file.write_all(pem.as_bytes())?;
        Ok(file)
    };
    let file =
        write().map_err(|cause| Failure::Io("could not write the CA certificate".to_owned(), cause))?;
    Ok((file.path().to_owned(), Some(file)))
}

/// The fingerprints and the request of a client.
#[derive(Serialize)]
struct ClientReport<'a> {
    /// The request.
    request: &'a RecordedRequest,
    /// The connection. This request is the last one on it.
    #[serde(flatten)]
    connection: RecordedConnection,
}

fn build_reply(exchange: &Exchange) -> Reply {
    let path = exchange.request.path.split('?').next().unwrap_or_default();
    let report = || ClientReport { request: &exchange.request, connection: exchange.client.to_connection() };
    match path {
        "/" => Reply::html(200, page::html(&report())),
        "/json" => match serde_json::to_string_pretty(&report()) {
            Ok(text) => Reply::json(200, text + "\n"),
            Err(_) => Reply::status(500),
        },
        _ => Reply::json(404, "{\"error\": \"not found; request / or /json\"}\n"),
    }
    .header("cache-control", "no-store")
}
