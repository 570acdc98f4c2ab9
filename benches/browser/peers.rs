//! The Rust part of the bench: stock chromiumoxide in the suites, and timing of the rungs library.
//! Called by `run.py`: `peers stock|stock-stealth URL`, `peers speed URL COUNT AT_ONCE [headful]`,
//! `peers hold URL COUNT [headful]`.

use std::time::{Duration, Instant};

use chromiumoxide::{Browser, BrowserConfig};
use futures_util::StreamExt as _;
use futures_util::stream;
use rungs::{Fetcher, Tier};

type Done = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Done {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["stock", url] => stock(url, false).await,
        ["stock-stealth", url] => stock(url, true).await,
        ["speed", url, count, at_once, ref more @ ..] => {
            speed(url, count.parse()?, at_once.parse()?, more.contains(&"headful")).await
        }
        ["hold", url, count, ref more @ ..] => hold(url, count.parse()?, more.contains(&"headful")).await,
        _ => Err("see the top of peers.rs".into()),
    }
}

/// Runs the suites with stock chromiumoxide, used as its documentation shows.
async fn stock(url: &str, stealth_mode: bool) -> Done {
    let folder = tempfile::tempdir()?;
    let chromium = rungs::lab::Chromium::find().ok_or("Chromium is not installed")?;
    let config =
        BrowserConfig::builder().chrome_executable(chromium).user_data_dir(folder.path()).no_sandbox();
    let (mut browser, mut handler) = Browser::launch(config.build()?).await?;
    tokio::spawn(async move { while handler.next().await.is_some() {} });
    let page = browser.new_page("about:blank").await?;
    if stealth_mode {
        page.enable_stealth_mode().await?;
    }
    // It waits until every frame is loaded, or 30 seconds. Only the page's report counts.
    let _ = tokio::time::timeout(Duration::from_secs(10), page.goto(url)).await;
    for _ in 0..60 {
        if page.find_element("#done").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    page.content().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    browser.close().await?;
    browser.wait().await?;
    Ok(())
}

fn fetcher(pages: usize, headful: bool) -> rungs::Result<Fetcher> {
    Fetcher::builder()
        .min_tier(Tier::Browser)
        .max_tier(Tier::Browser)
        .retries(0)
        .browser_pages(pages)
        .headful(headful)
        .build()
}

/// Prints JSON: milliseconds from start to the first page; milliseconds of each warm page in a new context; pages per
/// second with `at_once` concurrent fetches.
async fn speed(url: &str, count: usize, at_once: usize, headful: bool) -> Done {
    let fetcher = fetcher(at_once, headful)?;
    let get = async |name: String| {
        let from = Instant::now();
        fetcher.session(&name).get(format!("{url}/{name}")).send().await?;
        rungs::Result::Ok(from.elapsed().as_secs_f64() * 1e3)
    };
    let first = get("first".to_owned()).await?;
    let mut warm = Vec::new();
    for n in 0..count {
        warm.push(get(format!("warm{n}")).await?);
    }
    let from = Instant::now();
    let all = stream::iter(0..count).map(|n| get(format!("many{n}"))).buffer_unordered(at_once);
    let all: Vec<rungs::Result<f64>> = all.collect().await;
    let seconds = from.elapsed().as_secs_f64();
    all.into_iter().collect::<rungs::Result<Vec<f64>>>()?;
    fetcher.close().await;
    #[expect(clippy::cast_precision_loss, reason = "a few dozen pages")]
    let rate = count as f64 / seconds;
    println!("{}", serde_json::json!({"first": first, "warm": warm, "rate": rate}));
    Ok(())
}

/// Keeps `count` pages open, each in its own context, until stdin ends.
async fn hold(url: &str, count: usize, headful: bool) -> Done {
    let fetcher = fetcher(count, headful)?;
    let pages = (0..count).map(|n| {
        let session = fetcher.session(&format!("hold{n}"));
        async move { session.get(format!("{url}/hold{n}")).wait_for("#never").send().await }
    });
    let all = futures_util::future::join_all(pages);
    let stdin = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    tokio::select! {
        _ = all => {}
        _ = stdin => {}
    }
    Ok(())
}
