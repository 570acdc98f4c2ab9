//! Progress of a batch: a bar on a terminal, a line every few seconds elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rungs::batch::Progress;

use super::terminal;

/// Displays progress, or hides it.
pub(crate) struct ProgressDisplay {
    kind: DisplayKind,
    began: Instant,
    /// Time of the last update, and the number of finished fetches then.
    last: (Instant, u64),
    /// Finished fetches per second, smoothed.
    rate: f64,
}

enum DisplayKind {
    Hidden,
    Bar(ProgressBar),
    Lines { next: Instant },
}

impl ProgressDisplay {
    /// Creates a bar on a terminal. Elsewhere creates lines if `shown`.
    pub(crate) fn new(shown: bool, hidden: bool, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let kind = if hidden || quiet || !(terminal || shown) {
            DisplayKind::Hidden
        } else if terminal {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(style(false));
            DisplayKind::Bar(bar)
        } else {
            DisplayKind::Lines { next: Instant::now() + LINE_INTERVAL }
        };
        let now = Instant::now();
        Self { kind, began: now, last: (now, 0), rate: 0.0 }
    }

    /// Updates the display.
    pub(crate) fn update(&mut self, progress: &Progress) {
        self.update_rate(progress);
        let (text, total) = (format_progress(progress, self.rate), estimate_total(progress));
        match &mut self.kind {
            DisplayKind::Hidden => {}
            DisplayKind::Bar(bar) => {
                bar.set_style(style(total.is_some()));
                bar.set_length(total.unwrap_or(progress.read));
                bar.set_position(progress.counters.attempted);
                let left = total.and_then(|total| format_remaining(total, progress, self.rate));
                bar.set_message(left.map_or_else(|| text.clone(), |left| format!("{text}, {left} left")));
                bar.tick();
            }
            DisplayKind::Lines { next } => {
                let now = Instant::now();
                if now < *next {
                    return;
                }
                *next = now + LINE_INTERVAL;
                let of = total.map_or_else(String::new, |total| format!(" of {total}"));
                let seconds = self.began.elapsed().as_secs();
                let done = progress.counters.attempted;
                terminal::print_message(&format!("{seconds} s: {done}{of}, {text}"));
            }
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let DisplayKind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }

    /// Prints a message that the bar does not overwrite.
    pub(crate) fn print(&self, text: &str) {
        match &self.kind {
            DisplayKind::Bar(bar) => bar.suspend(|| terminal::print_message(text)),
            _ => terminal::print_message(text),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate to be read")]
    fn update_rate(&mut self, progress: &Progress) {
        let (at, done) = self.last;
        let passed = at.elapsed();
        if at == self.began && done == 0 {
            self.last = (Instant::now(), progress.counters.attempted);
        } else if passed >= Duration::from_secs(1) {
            let rate = progress.counters.attempted.saturating_sub(done) as f64 / passed.as_secs_f64();
            self.rate = if self.rate > 0.0 { self.rate * 0.7 + rate * 0.3 } else { rate };
            self.last = (Instant::now(), progress.counters.attempted);
        }
    }
}

/// Formats the counts as one line.
fn format_progress(progress: &Progress, rate: f64) -> String {
    let tally = &progress.counters;
    let mut text = format!("{rate:.0}/s");
    for (count, what) in [
        (tally.tiers.plain, "plain"),
        (tally.tiers.impersonate, "impersonate"),
        (tally.tiers.browser, "browser"),
        (tally.blocked, "blocked"),
        (tally.failed, "failed"),
        (progress.retries, "retries"),
        (progress.put_off, "deferred"),
        (progress.waiting, "waiting"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    let _ = write!(text, ", {}", format_bytes(progress.bytes));
    text
}

/// Returns the number of tasks. Estimates it while the input is being read; `None` when too little is read.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate of a count"
)]
fn estimate_total(progress: &Progress) -> Option<u64> {
    if progress.part >= 1.0 {
        return Some(progress.read);
    }
    (progress.part > 0.001).then(|| (progress.read as f64 / progress.part) as u64)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn format_remaining(total: u64, progress: &Progress, rate: f64) -> Option<String> {
    let more = total.saturating_sub(progress.counters.attempted) as f64;
    let seconds = Duration::try_from_secs_f64(more / rate).ok()?.as_secs();
    (rate > 0.0).then(|| humantime::format_duration(Duration::from_secs(seconds)).to_string())
}

#[expect(clippy::cast_precision_loss, reason = "a size to be read")]
pub(crate) fn format_bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = if known { "{bar:24} {pos}/{len} {wide_msg}" } else { "{spinner} {pos} {wide_msg}" };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Time between two progress lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_line_omits_counts_of_zero() {
        let mut progress = Progress::default();
        assert_eq!(format_progress(&progress, 0.0), "0/s, 0 B");
        progress.counters.tiers.plain = 12;
        progress.counters.blocked = 1;
        progress.retries = 3;
        progress.bytes = 123_456;
        assert_eq!(format_progress(&progress, 99.6), "100/s, 12 plain, 1 blocked, 3 retries, 123 kB");
    }

    #[test]
    fn total_is_estimated_until_the_input_is_read() {
        let mut progress = Progress::default();
        assert_eq!(estimate_total(&progress), None);
        (progress.read, progress.part) = (500, 0.25);
        assert_eq!(estimate_total(&progress), Some(2000));
        (progress.read, progress.part) = (1990, 1.0);
        assert_eq!(estimate_total(&progress), Some(1990));
    }
}
