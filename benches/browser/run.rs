//! Fetches many pages with the browser tier in one run, and optionally kills renderers and browsers meanwhile.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use futures_util::StreamExt;
use rungs::{Fetcher, Tier};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Parameters of a run.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) pages: usize,
    /// Concurrent fetches. Each runs in a session with its own identity.
    pub(crate) at_once: usize,
    /// Kill a renderer each time this many more pages have been fetched.
    pub(crate) renderer_every: Option<usize>,
    /// Kill the browser when this many pages have been fetched.
    pub(crate) browser_at: &'static [usize],
}

/// Result of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) genuine: usize,
    /// Errors, as text.
    pub(crate) lost: Vec<String>,
    pub(crate) renderers_killed: usize,
    pub(crate) browsers_killed: usize,
    /// Browser processes that remain after closing.
    pub(crate) processes_left: usize,
    /// Browser folders that remain after closing.
    pub(crate) folders_left: usize,
}

/// Runs `plan` with the browsers' folders in `folder`. Calls `on_progress` with the number of pages fetched
/// after each page.
pub(crate) async fn run(plan: Plan, folder: &Path, mut on_progress: impl FnMut(usize)) -> Report {
    let site = site().await;
    let settings = Fetcher::builder().min_tier(Tier::Browser).browser_folder(folder);
    let fetcher = settings.build().expect("the defaults are valid");
    let mut report = Report::default();
    let mut count = 0_usize;
    let jobs = (0..plan.pages).map(|number| {
        let fetcher = fetcher.session(&format!("s{}", number % plan.at_once));
        async move {
            let page = fetcher.get(format!("http://{site}/{number}")).send().await;
            match page {
                Ok(page) if page.bytes().windows(8).any(|word| word == b">genuine") => Ok(()),
                Ok(page) => {
                    Err(format!("page {number}: {} without the text that the script writes", page.status()))
                }
                Err(error) => Err(format!("page {number}: {}", error.chain())),
            }
        }
    });
    let mut ends = futures_util::stream::iter(jobs).buffer_unordered(plan.at_once);
    while let Some(end) = ends.next().await {
        match end {
            Ok(()) => report.genuine += 1,
            Err(what) => report.lost.push(what),
        }
        count += 1;
        if plan.renderer_every.is_some_and(|every| count.is_multiple_of(every)) {
            report.renderers_killed += kill_one(folder, "--type=renderer");
        }
        if plan.browser_at.contains(&count) {
            report.browsers_killed += kill_one(folder, "--remote-debugging-pipe");
        }
        on_progress(count);
    }
    drop(ends);
    fetcher.close().await;
    report.processes_left = browsers(folder).len();
    report.folders_left = fs::read_dir(folder).map_or(0, Iterator::count);
    report
}

/// All processes, except zombies, of browsers whose folders are in `folder`.
pub(crate) fn browsers(folder: &Path) -> Vec<u32> {
    let data = format!("--user-data-dir={}/", folder.display());
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            (fields.next()? != "Z").then_some((pid, fields.next()?.parse().ok()?))
        })
        .collect();
    let is_root = |pid: u32| arguments(pid).iter().any(|part| part.starts_with(&data));
    let mut found: Vec<u32> = all.iter().map(|(pid, _)| *pid).filter(|pid| is_root(*pid)).collect();
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        let children = all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid);
        let fresh: Vec<u32> = children.filter(|pid| !found.contains(pid)).collect();
        found.extend(fresh);
        next += 1;
    }
    found
}

/// Kills the most recently started process of a browser in `folder` that has the argument `word`. Returns
/// the number of killed processes: 0 or 1.
fn kill_one(folder: &Path, word: &str) -> usize {
    let mut pids = browsers(folder);
    pids.retain(|pid| arguments(*pid).iter().any(|part| part == word));
    let Some(pid) = pids.into_iter().max().and_then(|pid| Pid::from_raw(pid.cast_signed())) else { return 0 };
    usize::from(kill_process(pid, Signal::KILL).is_ok())
}

fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    // Chromium's children rewrite their command line with spaces.
    let parts = line.split(|byte| matches!(byte, 0 | b' '));
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// A loopback site whose pages are rendered by a script.
async fn site() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut received = Vec::new();
                while !received.windows(4).any(|end| end == b"\r\n\r\n") {
                    if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let text = "lorem ipsum ".repeat(400);
                let body = format!(
                    "<title>page</title><p>{text}<p id=p><script>document.getElementById('p').textContent='gen'+'uine'</script>"
                );
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                // The browser may have closed the connection.
                let _ = stream.write_all((head + &body).as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}
