//! Kills `rungs batch` with SIGKILL several times, then counts the records in its output.
//!
//! `cargo run --example crash -- 100000 5 jsonl` (URLs, kills, format). Build the program first.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let kills: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let format = arguments.next().unwrap_or_else(|| "jsonl".to_owned());
    let (port, served) = serve().await?;
    let folder = tempfile::tempdir()?;
    let mut list = std::io::BufWriter::new(std::fs::File::create(folder.path().join("urls.txt"))?);
    for n in 0..count {
        writeln!(list, "http://127.0.0.1:{port}/page/{n}")?;
    }
    list.into_inner()?;
    let out = folder.path().join(format!("out.{format}"));
    let began = Instant::now();
    for kill in 0..kills {
        // A random point of the next part, measured by the journal's length: at least 21 bytes per URL.
        let percent: u64 = rand::rng().random_range(20..120);
        let before = journal(&out);
        let left = (count * 21).saturating_sub(before);
        let enough = before + left * percent / 100 / (kills - kill + 1);
        let mut child = program(&out).stderr(Stdio::inherit()).spawn()?;
        while journal(&out) < enough && child.try_wait()?.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        child.kill()?;
        let ended = child.wait()?;
        println!(
            "kill {}: {ended}, journal {} bytes, {} requests so far",
            kill + 1,
            journal(&out),
            served.load(Ordering::Relaxed)
        );
    }
    let ended = program(&out).stderr(Stdio::inherit()).spawn()?.wait()?;
    let counts = count_records(&out, &format)?;
    let records: u64 = counts.values().sum();
    let missing =
        (0..count).filter(|n| !counts.contains_key(&format!("http://127.0.0.1:{port}/page/{n}"))).count();
    let twice = counts.values().filter(|times| **times > 1).count();
    let requests = served.load(Ordering::Relaxed);
    println!(
        "{count} URLs, {kills} kills, {format}: {ended}, {records} records of {} URLs, {missing} missing, {twice} more than once",
        counts.len()
    );
    println!(
        "{requests} requests, {} repeated; {:.1} s",
        requests.saturating_sub(count),
        began.elapsed().as_secs_f64()
    );
    let is_right = ended.success() && records == count && missing == 0 && twice == 0;
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn program(out: &Path) -> Command {
    let here = std::env::current_exe().unwrap_or_default();
    let mut command = Command::new(here.ancestors().nth(2).unwrap_or(Path::new(".")).join("rungs"));
    let folder = out.parent().unwrap_or(Path::new("."));
    command.current_dir(folder).arg("batch").arg("urls.txt").arg("--out").arg(out);
    command.args(["--tier", "plain", "--robots", "ignore", "--no-memory", "--host-concurrency", "64"]);
    command
}

fn journal(out: &Path) -> u64 {
    let mut name = out.as_os_str().to_owned();
    name.push(".ckpt");
    std::fs::metadata(name).map_or(0, |meta| meta.len())
}

/// How often each URL is in the output. A broken record is an error.
fn count_records(out: &Path, format: &str) -> Result<HashMap<String, u64>, Box<dyn Error>> {
    let mut counts = HashMap::new();
    match format {
        "jsonl" => {
            for line in std::fs::read_to_string(out)?.lines() {
                let record: serde_json::Value = serde_json::from_str(line)?;
                *counts
                    .entry(record["url"].as_str().ok_or("a record has no url")?.to_owned())
                    .or_default() += 1;
            }
        }
        "csv" => {
            for record in csv::Reader::from_path(out)?.records() {
                *counts.entry(record?[0].to_owned()).or_default() += 1;
            }
        }
        "sqlite" => {
            let database = rusqlite::Connection::open(out)?;
            let mut query = database.prepare("SELECT url FROM page")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                *counts.entry(row.get(0)?).or_default() += 1;
            }
        }
        _ => return Err("the format must be jsonl, csv or sqlite".into()),
    }
    Ok(counts)
}

/// Starts a server that responds to every request with a small page and counts the requests.
async fn serve() -> std::io::Result<(u16, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (port, served) = (listener.local_addr()?.port(), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(respond(stream, Arc::clone(&counter)));
        }
    });
    Ok((port, served))
}

async fn respond(mut stream: TcpStream, served: Arc<AtomicU64>) -> std::io::Result<()> {
    let (mut head, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        head.extend_from_slice(&bytes[..read]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            served.fetch_add(1, Ordering::Relaxed);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 35\r\n\r\n<!doctype html><title>page</title>\n")
                .await?;
        }
    }
}
