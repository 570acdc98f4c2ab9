//! Renders plots over time as SVG.

use std::fmt::Write as _;
use std::time::Duration;

use super::time_series::{LANES, TimeSeries};

/// The ranges of the axes.
struct PlotArea {
    /// The end of the time axis, in seconds.
    seconds: f64,
    /// The upper end of the value axis.
    top: f64,
}

/// Plots the completed fetches per second, stacked by outcome.
pub(super) fn throughput(series: &TimeSeries, elapsed: Duration) -> String {
    let (width, spans) = bucket_spans(series, elapsed);
    let rate = |at: usize, lane: usize| f64::from(series.buckets()[at].ended[lane]) / spans[at];
    let sums = (0..spans.len()).map(|at| (0..LANES.len()).map(|lane| rate(at, lane)).sum::<f64>());
    let area = PlotArea::new(elapsed, sums.fold(0.0, f64::max));
    let mut svg = area.open_svg("Completed fetches per second over time", format_value);
    for (at, span) in spans.iter().enumerate() {
        let mut below = 0.0;
        let from = bucket_start(at, width);
        for (lane, class) in LANES.iter().enumerate() {
            let rate = rate(at, lane);
            if rate == 0.0 {
                continue;
            }
            let (x, wide) = (area.x(from), area.x(from + span) - area.x(from));
            let (y, high) = (area.y(below + rate), area.y(below) - area.y(below + rate));
            // A small gap between buckets, if they are wide enough.
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

/// Plots the latency of attempts: median and 95th percentile.
pub(super) fn latency(series: &TimeSeries, elapsed: Duration) -> String {
    let (width, spans) = bucket_spans(series, elapsed);
    let quantile_points = |part: f64| -> Vec<(f64, f64)> {
        let buckets = series.buckets().iter().zip(&spans).enumerate();
        buckets
            .filter_map(|(at, (bucket, span))| {
                let took = bucket.latency.quantile(part)?.as_secs_f64();
                Some((bucket_start(at, width) + span / 2.0, took))
            })
            .collect()
    };
    let lines = [("p50", quantile_points(0.5)), ("p95", quantile_points(0.95))];
    let max = lines.iter().flat_map(|(_, line)| line).map(|(_, took)| *took).fold(0.0, f64::max);
    let area = PlotArea::new(elapsed, max);
    let mut svg = area.open_svg("Latency of attempts over time: p50 and p95", format_seconds);
    for (name, line) in lines {
        let points: Vec<String> =
            line.iter().map(|(at, took)| format!("{:.1},{:.1}", area.x(*at), area.y(*took))).collect();
        let _ = write!(svg, "<polyline class=\"line {name}\" points=\"{}\"/>", points.join(" "));
        // Dots make short lines visible, and show a tooltip.
        let radius = if line.len() > 60 { 1.2 } else { 2.4 };
        for (at, took) in &line {
            let _ = write!(
                svg,
                "<circle class=\"dot {name}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"><title>{}: {name} {}\
                 </title></circle>",
                area.x(*at),
                area.y(*took),
                format_seconds(*at),
                format_seconds(*took)
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Returns the bucket width, and the elapsed seconds of each bucket: the last is incomplete.
fn bucket_spans(series: &TimeSeries, elapsed: Duration) -> (f64, Vec<f64>) {
    let width = series.width().as_secs_f64();
    let spans = (0..series.buckets().len())
        .map(|at| (elapsed.as_secs_f64() - bucket_start(at, width)).clamp(width / 10.0, width))
        .collect();
    (width, spans)
}

#[expect(clippy::cast_precision_loss, reason = "there are few buckets")]
fn bucket_start(at: usize, width: f64) -> f64 {
    at as f64 * width
}

impl PlotArea {
    fn new(elapsed: Duration, max: f64) -> Self {
        let step = round_up(max.max(1e-6) / TICKS);
        Self { seconds: elapsed.as_secs_f64().max(0.001), top: (max.max(1e-6) / step).ceil() * step }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (seconds / self.seconds).min(1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)
    }

    /// Opens the SVG and draws the axes.
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

/// Returns the ticks from 0 to `max`.
fn axis_ticks(max: f64, step: f64) -> Vec<f64> {
    (0..12).map(|count| f64::from(count) * step).take_while(|value| *value <= max * 1.001).collect()
}

/// Rounds up to 1, 2 or 5 times a power of ten.
fn round_up(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= least * 0.999);
    times.unwrap_or(10.0) * power
}

/// Rounds up to a round number of seconds, minutes or hours.
fn round_up_time(least: f64) -> f64 {
    if least < 20.0 {
        return round_up(least);
    }
    let steps = [30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0];
    steps.into_iter().find(|step| *step >= least).unwrap_or_else(|| round_up(least / 86_400.0) * 86_400.0)
}

/// Formats a duration in the shortest form.
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

/// Formats a number without trailing zeros.
fn format_trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.split_once('.') {
        Some((whole, rest)) if rest.chars().all(|digit| digit == '0') => whole.to_owned(),
        _ => text,
    }
}

/// The approximate number of ticks on the value axis.
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
    fn nothing_is_drawn_outside_the_plot_area() {
        let mut series = TimeSeries::new();
        for ms in [0, 40, 800, 2600] {
            let bucket = series.bucket_mut(Duration::from_millis(ms));
            bucket.ended[0] += 7;
            bucket.latency.add(Duration::from_millis(ms));
        }
        let elapsed = Duration::from_millis(2610);
        for svg in [throughput(&series, elapsed), latency(&series, elapsed)] {
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
