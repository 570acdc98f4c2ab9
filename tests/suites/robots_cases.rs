//! Answers questions about robots.txt files, for the scripts in this folder.
//!
//! Reads one question per line from stdin, `{"robots": TEXT, "token": NAME, "url": URL}`. Each character of TEXT is a byte
//! of the file. Writes one answer per line, `{"allowed": BOOL or null, "crawl_delay": SECONDS or null}`; `allowed` is null
//! for a URL that cannot be fetched.

use std::io::{BufRead as _, Write as _};

use rungs::robots::Rules;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        writeln!(out, "{}", answer(&serde_json::from_str(&line?)?)?)?;
        out.flush()?;
    }
    Ok(())
}

fn answer(question: &Value) -> Result<Value, String> {
    let text = |key: &str| question[key].as_str().ok_or(format!("`{key}` is not a text"));
    let file: Result<Vec<u8>, _> = text("robots")?.chars().map(|c| u8::try_from(u32::from(c))).collect();
    let file = file.map_err(|_| "a character of `robots` is not a byte".to_owned())?;
    let rules = Rules::parse_for(text("token")?, &file);
    let allowed = rungs::parse_url(text("url")?).ok().map(|url| rules.find_disallow(&url).is_none());
    let crawl_delay = rules.crawl_delay().map(|delay| delay.as_secs_f64());
    Ok(json!({ "allowed": allowed, "crawl_delay": crawl_delay }))
}
