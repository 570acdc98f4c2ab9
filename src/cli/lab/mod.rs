//! `rungs lab`: a page on loopback that tells any client what it looks like on the wire.

mod page;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rungs::lab::{Authority, Exchange, RecordedConnection, RecordedRequest, Recorder, Reply};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{self, Failure};
use super::runtime;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ask it with any client, for example `curl --cacert FILE https://localhost:PORT/json`; the page for people is /. \
It ends on Ctrl-C.")]
pub(crate) struct LabArgs {
    /// Where to listen: a port of 127.0.0.1, 0 for any free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Write the CA certificate that clients must trust to this file (PEM) instead of a temporary one.
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
    // Before anything is printed: who reads the URL may ask at once, and may press Ctrl-C at once.
    let signals =
        |kind| signal(kind).map_err(|cause| Failure::Io("could not take signals".to_owned(), cause));
    let (mut pressed, mut told) = (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
    let (path, _temporary) = write_certificate(args.cert_out.as_deref(), authority.ca_pem())?;
    // By name: a client that asks an address sends no server name, and its fingerprint lacks it.
    let url = format!("https://localhost:{}/", recorder.addr().port());
    let mut out = std::io::stdout();
    writeln!(out, "url {url}\nca  {}", path.display()).and_then(|()| out.flush()).map_err(Failure::stdout)?;
    tokio::select! {
        _ = pressed.recv() => {}
        _ = told.recv() => {}
    }
    Ok(exit::OK)
}

/// Writes the CA certificate; a temporary file goes with the value that is returned.
fn write_certificate(
    file: Option<&Path>,
    pem: &str,
) -> Result<(PathBuf, Option<tempfile::NamedTempFile>), Failure> {
    if let Some(file) = file {
        let failed = |cause| Failure::Io(format!("--cert-out: could not write {}", file.display()), cause);
        std::fs::write(file, pem).map_err(failed)?;
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

/// What is known of the client that asks.
#[derive(Serialize)]
struct ClientReport<'a> {
    /// The request that is answered.
    request: &'a RecordedRequest,
    /// Its connection, this request the last on it.
    #[serde(flatten)]
    connection: RecordedConnection,
}

fn build_reply(heard: &Exchange) -> Reply {
    let path = heard.request.path.split('?').next().unwrap_or_default();
    let report = || ClientReport { request: &heard.request, connection: heard.client.to_connection() };
    match path {
        "/" => Reply::html(200, page::html(&report())),
        "/json" => match serde_json::to_string_pretty(&report()) {
            Ok(text) => Reply::json(200, text + "\n"),
            Err(_) => Reply::status(500),
        },
        _ => Reply::json(404, "{\"error\": \"ask for / or /json\"}\n"),
    }
    .header("cache-control", "no-store")
}
