//! Renders the report as HTML. All text from the network goes through [`escape`].

use std::fmt::Write as _;
use std::time::Duration;

use super::histogram::Histogram;
use super::plot::{format_seconds, latency, throughput};
use super::stats::{AttemptStats, FetchRow, OUTCOMES, PROXY_FAULT, ReportStats};
use super::time_series::LANES;
use super::top_n::{Aggregate as _, TopEntries, TopN};
use crate::batch::summary::{Summary, timestamp};
use crate::exchange::tier::Tier;
use crate::text::redact;

pub(super) fn html(stats: &ReportStats, summary: &Summary) -> String {
    let elapsed = summary.elapsed.max(Duration::from_millis(1));
    let mut page = String::with_capacity(64 << 10);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>Batch of {}</title><style>{STYLE}</style></head><body><main>\n",
        escape(&summary.input)
    );
    write_header(&mut page, summary);
    page.push_str("<h2>Throughput</h2><p>Completed fetches per second.</p>");
    write_legend(&mut page, &LANES);
    let _ = writeln!(page, "<div class=\"plot\">{}</div>", throughput(&stats.series, elapsed));
    page.push_str(
        "<h2>Latency</h2><p>Duration of started attempts, without the wait for the host's rate limit.</p>",
    );
    write_legend(&mut page, &["p50", "p95"]);
    let _ = writeln!(page, "<div class=\"plot\">{}</div>", latency(&stats.series, elapsed));
    write_tiers(&mut page, stats);
    page.push_str("<h2>Verdicts by host</h2><p>Outcomes of attempts, busiest hosts first.</p>");
    write_legend(&mut page, &OUTCOMES);
    write_attempts(&mut page, "host", &stats.hosts, MAX_HOSTS, false);
    page.push_str(
        "<h2>Proxies</h2><p>Faults are proxy errors and attempts through the proxy without an answer.</p>",
    );
    write_attempts(&mut page, "proxy", &stats.proxies, MAX_PROXIES, true);
    page.push_str("<h2>Verdicts</h2>");
    write_attempts(&mut page, "verdict", &stats.verdicts, MAX_VERDICTS, false);
    page.push_str("<h2>Slowest fetches</h2>");
    write_fetches(&mut page, &stats.slowest(), false);
    write_failures(&mut page, stats);
    page.push_str("</main></body></html>\n");
    page
}

/// Writes the title, the counters and the notes.
fn write_header(page: &mut String, summary: &Summary) {
    let progress = &summary.progress;
    let counters = &progress.counters;
    let _ = writeln!(
        page,
        "<h1>Batch of {}</h1><p class=\"lead\">{} by rungs {}, {} in {}{}</p>",
        escape(&summary.input),
        timestamp(summary.began),
        escape(summary.version),
        if summary.complete { "completed" } else { "<strong>stopped before its end</strong>," },
        format_seconds(summary.elapsed.as_secs_f64()),
        summary.output.as_ref().map_or_else(String::new, |output| format!(", records in {}", escape(output))),
    );
    page.push_str("<dl class=\"tiles\">");
    let now = counters.attempted.saturating_sub(progress.resumed);
    for (name, value) in [
        ("attempted", format_count(counters.attempted)),
        ("succeeded", format_count(counters.succeeded)),
        ("blocked", format_count(counters.blocked)),
        ("failed", format_count(counters.failed)),
        ("per second", format!("{:.1}", rate(now, summary.elapsed))),
        ("bytes", format_bytes(progress.bytes)),
        ("retries and escalations", format_count(progress.retries)),
    ] {
        let _ = write!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl>\n");
    let mut notes = Vec::new();
    if progress.resumed > 0 {
        notes.push(format!(
            "{} of these were finished by earlier runs; the plots and tables below show only this run.",
            format_count(progress.resumed)
        ));
    }
    if progress.duplicates > 0 {
        notes.push(format!("{} duplicate tasks were skipped.", format_count(progress.duplicates)));
    }
    if counters.retryable > 0 {
        notes.push(format!("{} failed with a transient error.", format_count(counters.retryable)));
    }
    if !notes.is_empty() {
        let _ = writeln!(page, "<p>{}</p>", notes.join(" "));
    }
}

fn write_tiers(page: &mut String, stats: &ReportStats) {
    page.push_str("<h2>Tiers</h2>");
    let total = stats.tiers.iter().map(|tier| tier.pages).sum::<u64>();
    let mut table = HtmlTable::begin(
        page,
        &["tier", "pages", SHARE_COLUMN, "attempts", "refused", "no answer", "p50", "p95", "bytes"],
    );
    for (tier, done) in Tier::ALL.into_iter().zip(&stats.tiers) {
        let attempt_stats = &done.attempt_stats;
        let refused = attempt_stats.outcomes[1] + attempt_stats.outcomes[2];
        table.row([
            escape(tier.name()),
            format_count(done.pages),
            bar(&[(tier.name(), done.pages)], total),
            format_count(attempt_stats.attempts),
            format_count(refused),
            format_count(attempt_stats.outcomes[5]),
            format_quantile(&attempt_stats.latency, 0.5),
            format_quantile(&attempt_stats.latency, 0.95),
            format_bytes(done.bytes),
        ]);
    }
    table.end();
}

/// Writes a table of attempts by name: their number, outcomes and latency.
fn write_attempts(page: &mut String, column: &str, top_n: &TopN<AttemptStats>, count: usize, faults: bool) {
    let TopEntries { first, rest, others } = top_n.top(count);
    let all: u64 = first.iter().map(|(_, attempt_stats)| attempt_stats.weight()).sum::<u64>() + rest.weight();
    if all == 0 {
        page.push_str("<p class=\"none\">No attempts.</p>");
        return;
    }
    let fourth = if faults { "faults" } else { "genuine" };
    let mut table = HtmlTable::begin(page, &[column, "attempts", OUTCOMES_COLUMN, fourth, "p50", "p95"]);
    // The busiest row has the full bar width.
    let widest =
        first.iter().map(|(_, attempt_stats)| attempt_stats.weight()).max().unwrap_or(0).max(rest.weight());
    let others = (rest.weight() > 0).then(|| format!("{} others", format_count(others as u64)));
    let rows = first
        .iter()
        .map(|(name, attempt_stats)| (*name, *attempt_stats))
        .chain(others.as_deref().map(|name| (name, &rest)));
    for (name, attempt_stats) in rows {
        let parts: Vec<(&str, u64)> = OUTCOMES.into_iter().zip(attempt_stats.outcomes).collect();
        let part = if faults {
            attempt_stats.outcomes[PROXY_FAULT] + attempt_stats.outcomes[5]
        } else {
            attempt_stats.outcomes[0]
        };
        table.row([
            escape(name),
            format!(
                "{} <small>{}</small>",
                format_count(attempt_stats.attempts),
                format_percent(attempt_stats.attempts, all)
            ),
            bar(&parts, widest),
            format_percent(part, attempt_stats.attempts),
            format_quantile(&attempt_stats.latency, 0.5),
            format_quantile(&attempt_stats.latency, 0.95),
        ]);
    }
    table.end();
}

fn write_failures(page: &mut String, stats: &ReportStats) {
    page.push_str("<h2>Failures</h2>");
    if stats.failures == 0 {
        page.push_str("<p class=\"none\">No fetch failed.</p>");
        return;
    }
    let mut reasons: Vec<_> = stats.reasons.iter().collect();
    reasons.sort_by(|(a, x), (b, y)| y.count.cmp(&x.count).then(a.cmp(b)));
    let mut table = HtmlTable::begin(page, &["reason", "fetches", "percent", EXAMPLE_COLUMN]);
    for (name, reason) in reasons {
        table.row([
            escape(name),
            format_count(reason.count),
            format_percent(reason.count, stats.failures),
            format!(
                "<span class=\"url\">{}</span><small>{}</small>",
                escape(&reason.url),
                escape(&reason.message)
            ),
        ]);
    }
    table.end();
    let shown = stats.failed_fetches.len() as u64;
    let which = if shown < stats.failures {
        format!("The first {shown} of {}.", format_count(stats.failures))
    } else {
        "All failed fetches.".to_owned()
    };
    let _ = write!(page, "<h2>Failed fetches</h2><p>{which}</p>");
    write_fetches(page, &stats.failed_fetches.iter().collect::<Vec<_>>(), true);
}

fn write_fetches(page: &mut String, list: &[&FetchRow], why: bool) {
    if list.is_empty() {
        page.push_str("<p class=\"none\">No fetches.</p>");
        return;
    }
    let mut table = HtmlTable::begin(page, &["URL", "duration", "waited", "attempts", "tier", "status"]);
    for row in list {
        let why = if why && !row.message.is_empty() {
            format!("<small>{}</small>", escape(&row.message))
        } else {
            String::new()
        };
        table.row([
            format!("<span class=\"url\">{}</span>{why}", escape(&row.url)),
            format_seconds(row.elapsed.as_secs_f64()),
            if row.waited.as_millis() > 0 {
                format_seconds(row.waited.as_secs_f64())
            } else {
                "–".to_owned()
            },
            format_count(row.attempts as u64),
            row.tier.map_or_else(|| "–".to_owned(), |tier| escape(tier.name())),
            row.status.map_or_else(|| "–".to_owned(), |status| status.to_string()),
        ]);
    }
    table.end();
}

/// Writes a table. Cells are HTML.
struct HtmlTable<'a> {
    page: &'a mut String,
}

impl<'a> HtmlTable<'a> {
    fn begin(page: &'a mut String, heads: &[&str]) -> Self {
        page.push_str("<div class=\"table\"><table><thead><tr>");
        for head in heads {
            let class = if LEFT_ALIGNED.contains(head) { " class=\"left\"" } else { "" };
            let _ = write!(page, "<th{class}>{head}</th>");
        }
        page.push_str("</tr></thead><tbody>\n");
        Self { page }
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.page.push_str("<tr>");
        for cell in cells {
            let _ = write!(self.page, "<td>{cell}</td>");
        }
        self.page.push_str("</tr>\n");
    }

    fn end(self) {
        self.page.push_str("</tbody></table></div>\n");
    }
}

/// Returns a bar with the parts of a whole, side by side.
fn bar(parts: &[(&str, u64)], whole: u64) -> String {
    let mut html = String::from("<span class=\"bar\">");
    for (name, count) in parts.iter().filter(|(_, count)| *count > 0) {
        let class = name.replace(' ', "-");
        let share = percentage(*count, whole);
        let _ = write!(
            html,
            "<i class=\"{class}\" style=\"width:{share:.2}%\" title=\"{name}: {}\"></i>",
            format_count(*count)
        );
    }
    html.push_str("</span>");
    html
}

fn write_legend(page: &mut String, names: &[&str]) {
    page.push_str("<ul class=\"legend\">");
    for name in names {
        let _ = write!(page, "<li><i class=\"{}\"></i>{name}</li>", name.replace(' ', "-"));
    }
    page.push_str("</ul>");
}

fn format_quantile(histogram: &Histogram, part: f64) -> String {
    histogram.quantile(part).map_or_else(|| "–".to_owned(), |took| format_seconds(took.as_secs_f64()))
}

/// Escapes untrusted text for HTML: markup, control characters and bidirectional overrides.
fn escape(text: &str) -> String {
    redact::escape_html(&redact::escape_terminal(text))
}

/// Formats a number with thousands separators.
fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "a displayed size is rounded")]
fn format_bytes(bytes: u64) -> String {
    let bytes_f = bytes as f64;
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes_f / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes_f / 1e6),
        _ => format!("{:.2} GB", bytes_f / 1e9),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a displayed percentage is rounded")]
fn percentage(count: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { count as f64 * 100.0 / whole as f64 }
}

fn format_percent(count: u64, whole: u64) -> String {
    match percentage(count, whole) {
        share if share > 0.0 && share < 0.1 => "&lt;0.1&nbsp;%".to_owned(),
        share if share > 99.9 && count < whole => "&gt;99.9&nbsp;%".to_owned(),
        share if share == 0.0 || share >= 99.95 => format!("{share:.0}&nbsp;%"),
        share => format!("{share:.1}&nbsp;%"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a displayed rate is rounded")]
fn rate(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(0.001)
}

/// Headings of columns that do not contain numbers.
const LEFT_ALIGNED: [&str; 3] = [SHARE_COLUMN, OUTCOMES_COLUMN, EXAMPLE_COLUMN];
const SHARE_COLUMN: &str = "share";
const OUTCOMES_COLUMN: &str = "outcomes";
const EXAMPLE_COLUMN: &str = "first example";
const MAX_HOSTS: usize = 20;
const MAX_PROXIES: usize = 20;
const MAX_VERDICTS: usize = 30;

const STYLE: &str = include_str!("style.css");

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::batch::record::Record;
    use crate::batch::state::Progress;
    use crate::exchange::error::Error;
    use crate::exchange::error_kind::ErrorKind;

    fn summary(input: &str) -> Summary {
        Summary {
            version: "1.2.3",
            began: SystemTime::UNIX_EPOCH,
            elapsed: Duration::from_secs(3),
            input: input.to_owned(),
            output: None,
            progress: Progress::default(),
            complete: true,
            output_closed: false,
            traps: Vec::new(),
            beyond: 0,
        }
    }

    #[test]
    fn text_from_the_network_is_escaped() {
        let mut stats = ReportStats::new();
        let evil = "http://jane:hunter2@site.example/'\"><script>alert(1)</script>\u{202e}";
        let error = Error::new(ErrorKind::Protocol, "<img src=x onerror=alert(2)>\x1b[31m");
        stats.record_fetch(&Record::new(evil, Err(error)), false, Duration::from_secs(1));
        let page = html(&stats, &summary("<b>list</b>"));
        for wrong in ["<script", "<img", "<b>list", "hunter2", "\u{202e}", "\x1b"] {
            assert!(!page.contains(wrong), "{wrong:?} in {page}");
        }
        assert!(page.contains("&lt;img src=x onerror=alert(2)&gt;"), "{page}");
        assert!(page.contains("Content-Security-Policy"), "{page}");
    }

    #[test]
    fn the_page_makes_no_requests() {
        let page = html(&ReportStats::new(), &summary("urls.txt"));
        for wrong in ["src=", "href=", "url(", "@import", "<script", "NaN"] {
            assert!(!page.contains(wrong), "{wrong}");
        }
        assert!(page.contains("No fetch failed."), "{page}");
    }

    #[test]
    fn numbers_are_formatted() {
        for (count, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(format_count(count), shown);
        }
        for (count, whole, shown) in [
            (0, 0, "0&nbsp;%"),
            (1, 3, "33.3&nbsp;%"),
            (1, 100_000, "&lt;0.1&nbsp;%"),
            (99_999, 100_000, "&gt;99.9&nbsp;%"),
            (7, 7, "100&nbsp;%"),
        ] {
            assert_eq!(format_percent(count, whole), shown);
        }
        assert_eq!(
            (format_bytes(999), format_bytes(1500), format_bytes(2_500_000)),
            ("999 B".into(), "1.5 kB".into(), "2.5 MB".into())
        );
    }
}
