//! Plots over time, as SVG.

use std::fmt::Write as _;
use std::time::Duration;

use super::time_series::{LANES, TimeSeries};

/// Where things are drawn, in the plot's own units.
struct PlotArea {
    /// How many seconds it is wide.
    seconds: f64,
    /// What is at its upper end.
    top: f64,
}

/// How many fetches ended, a second, stacked by how.
pub(super) fn throughput(series: &TimeSeries, passed: Duration) -> String {
    let (width, spans) = bucket_spans(series, passed);
    let rate = |at: usize, lane: usize| f64::from(series.buckets()[at].ended[lane]) / spans[at];
    let sums = (0..spans.len()).map(|at| (0..LANES.len()).map(|lane| rate(at, lane)).sum::<f64>());
    let frame = PlotArea::new(passed, sums.fold(0.0, f64::max));
    let mut svg = frame.open_svg("Fetches that ended, per second, over time", format_value);
    for (at, span) in spans.iter().enumerate() {
        let mut below = 0.0;
        let from = bucket_start(at, width);
        for (lane, class) in LANES.iter().enumerate() {
            let rate = rate(at, lane);
            if rate == 0.0 {
                continue;
            }
            let (x, wide) = (frame.x(from), frame.x(from + span) - frame.x(from));
            let (y, high) = (frame.y(below + rate), frame.y(below) - frame.y(below + rate));
            // A hair of room between slots, where they are wide enough to have one.
            let wide = if wide > 4.0 { wide - 1.0 } else { wide + 0.2 };
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{high:.1}\"><title>\
                 {} to {}: {} {}/s</title></rect>",
                class,
                format_seconds(from),
                format_seconds(from + span),
                LANES[lane],
                format_value(rate)
            );
            below += rate;
        }
    }
    svg.push_str("</svg>");
    svg
}

/// How long attempts took: the median, and what one in twenty exceeds.
pub(super) fn latency(series: &TimeSeries, passed: Duration) -> String {
    let (width, spans) = bucket_spans(series, passed);
    let of = |part: f64| -> Vec<(f64, f64)> {
        let slots = series.buckets().iter().zip(&spans).enumerate();
        slots
            .filter_map(|(at, (slot, span))| {
                let took = slot.latency.quantile(part)?.as_secs_f64();
                Some((bucket_start(at, width) + span / 2.0, took))
            })
            .collect()
    };
    let lines = [("p50", of(0.5)), ("p95", of(0.95))];
    let most = lines.iter().flat_map(|(_, line)| line).map(|(_, took)| *took).fold(0.0, f64::max);
    let frame = PlotArea::new(passed, most);
    let mut svg = frame.open_svg("Latency of attempts over time: p50 and p95", format_seconds);
    for (name, line) in lines {
        let points: Vec<String> =
            line.iter().map(|(at, took)| format!("{:.1},{:.1}", frame.x(*at), frame.y(*took))).collect();
        let _ = write!(svg, "<polyline class=\"line {name}\" points=\"{}\"/>", points.join(" "));
        // A line of few points would not be seen, and a point can be asked what it is.
        let radius = if line.len() > 60 { 1.2 } else { 2.4 };
        for (at, took) in &line {
            let _ = write!(
                svg,
                "<circle class=\"dot {name}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"><title>{}: {name} {}\
                 </title></circle>",
                frame.x(*at),
                frame.y(*took),
                format_seconds(*at),
                format_seconds(*took)
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// How wide slots are, and how many seconds of each have passed: the last is not over.
fn bucket_spans(series: &TimeSeries, passed: Duration) -> (f64, Vec<f64>) {
    let width = series.width().as_secs_f64();
    let spans = (0..series.buckets().len())
        .map(|at| (passed.as_secs_f64() - bucket_start(at, width)).clamp(width / 10.0, width))
        .collect();
    (width, spans)
}

#[expect(clippy::cast_precision_loss, reason = "slots are few")]
fn bucket_start(at: usize, width: f64) -> f64 {
    at as f64 * width
}

impl PlotArea {
    fn new(passed: Duration, most: f64) -> Self {
        let step = round_up(most.max(1e-6) / TICKS);
        Self { seconds: passed.as_secs_f64().max(0.001), top: (most.max(1e-6) / step).ceil() * step }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (seconds / self.seconds).min(1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)
    }

    /// The axes, with round numbers on them.
    fn open_svg(&self, label: &str, shown: impl Fn(f64) -> String) -> String {
        let mut svg = format!(
            "<svg role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             xmlns=\"http://www.w3.org/2000/svg\">"
        );
        for value in axis_ticks(self.top, round_up(self.top / TICKS)) {
            let y = self.y(value);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"up\" x=\"{}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                shown(value)
            );
        }
        for at in axis_ticks(self.seconds, round_up_time(self.seconds / 6.0)) {
            let x = self.x(at);
            let _ = write!(
                svg,
                "<text class=\"along\" x=\"{x:.1}\" y=\"{}\">{}</text>",
                HEIGHT - BOTTOM + 18.0,
                format_seconds(at)
            );
        }
        svg
    }
}

/// From 0 to `most`.
fn axis_ticks(most: f64, step: f64) -> Vec<f64> {
    (0..12).map(|count| f64::from(count) * step).take_while(|value| *value <= most * 1.001).collect()
}

/// The next 1, 2 or 5 with zeros.
fn round_up(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= least * 0.999);
    times.unwrap_or(10.0) * power
}

/// The next round number of seconds, minutes or hours.
fn round_up_time(least: f64) -> f64 {
    if least < 20.0 {
        return round_up(least);
    }
    let steps = [30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0];
    steps.into_iter().find(|step| *step >= least).unwrap_or_else(|| round_up(least / 86_400.0) * 86_400.0)
}

/// A length of time, as short as can be.
pub(super) fn format_seconds(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        ..0.01 => format!("{} ms", format_trimmed(seconds * 1000.0, 1)),
        ..1.0 => format!("{:.0} ms", seconds * 1000.0),
        ..10.0 => format!("{} s", format_trimmed(seconds, 1)),
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{} min", format_trimmed(seconds / 60.0, 1)),
        ..172_800.0 => format!("{} h", format_trimmed(seconds / 3600.0, 1)),
        _ => format!("{} d", format_trimmed(seconds / 86_400.0, 1)),
    }
}

fn format_value(value: f64) -> String {
    format_trimmed(value, usize::from(value < 10.0))
}

/// Without zeros behind the point.
fn format_trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.split_once('.') {
        Some((whole, rest)) if rest.chars().all(|digit| digit == '0') => whole.to_owned(),
        _ => text,
    }
}

/// About so many numbers stand beside a plot.
const TICKS: f64 = 5.0;
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        for (least, step) in [(0.3, 0.5), (1.0, 1.0), (1.2, 2.0), (21.0, 50.0), (700.0, 1000.0)] {
            assert!((round_up(least) - step).abs() < 1e-9, "{least}");
        }
        for (least, step) in [(7.0, 10.0), (25.0, 30.0), (400.0, 600.0), (90_000.0, 172_800.0)] {
            assert!((round_up_time(least) - step).abs() < 1e-6, "{least}");
        }
        for (at, shown) in [
            (0.0, "0"),
            (0.0042, "4.2 ms"),
            (0.25, "250 ms"),
            (2.0, "2 s"),
            (2.5, "2.5 s"),
            (90.0, "90 s"),
            (600.0, "10 min"),
            (9000.0, "2.5 h"),
        ] {
            assert_eq!(format_seconds(at), shown);
        }
    }

    #[test]
    fn nothing_is_drawn_outside_of_the_frame() {
        let mut series = TimeSeries::new();
        for ms in [0, 40, 800, 2600] {
            let slot = series.bucket_mut(Duration::from_millis(ms));
            slot.ended[0] += 7;
            slot.latency.add(Duration::from_millis(ms));
        }
        let passed = Duration::from_millis(2610);
        for svg in [throughput(&series, passed), latency(&series, passed)] {
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            for part in svg.split(" y=\"").skip(1) {
                let y: f64 = part.split('"').next().unwrap().parse().unwrap();
                assert!((0.0..=HEIGHT).contains(&y), "{y} in {svg}");
            }
        }
        let nothing = throughput(&TimeSeries::new(), Duration::ZERO);
        assert!(nothing.ends_with("</svg>") && !nothing.contains("NaN"), "{nothing}");
    }
}
