//! Compares HTTP/2 frames other than HEADERS and DATA.

use super::super::control_frame::ControlFrame;
use super::super::recording::RecordedConnection;
use super::super::scenario::Scenario;
use super::FingerprintLayer;
use super::requests::with_requests;
use super::row::ScenarioComparison;
use crate::fingerprint::Http2Fingerprint;

/// Compares the frames of each connection, except HEADERS, DATA, and the frames before its first request.
pub(super) fn compare(
    row: &mut ScenarioComparison<'_>,
    scenario: &Scenario,
    theirs: &[RecordedConnection],
    ours: &[RecordedConnection],
) {
    for (n, (theirs, ours)) in with_requests(theirs).zip(with_requests(ours)).enumerate() {
        let (theirs, ours) = (
            FrameSequence::from_connection(scenario, theirs),
            FrameSequence::from_connection(scenario, ours),
        );
        let label = |what: &str| format!("connection {n}: {what}");
        row.compare_text(
            FingerprintLayer::Control,
            &label("frames"),
            theirs.frames.join(", "),
            ours.frames.join(", "),
        );
        for (what, theirs, ours) in [
            ("acknowledgements of SETTINGS", theirs.settings_acks, ours.settings_acks),
            ("acknowledgements of PING", theirs.ping_acks, ours.ping_acks),
        ] {
            row.compare(FingerprintLayer::Control, &label(what), theirs, ours, usize::to_string);
        }
        for (what, theirs, ours) in
            [("streams", theirs.streams, ours.streams), ("connection", theirs.connection, ours.connection)]
        {
            row.compare_text(FingerprintLayer::Windows, &label(what), theirs.join(", "), ours.join(", "));
        }
    }
}

/// The frames of a connection. Acknowledgements arrive whenever the server has sent its frame: only their
/// number is compared, not their position.
#[derive(Default)]
struct FrameSequence {
    frames: Vec<String>,
    settings_acks: usize,
    ping_acks: usize,
    /// WINDOW_UPDATE frames.
    streams: Vec<String>,
    connection: Vec<String>,
}

impl FrameSequence {
    fn from_connection(scenario: &Scenario, connection: &RecordedConnection) -> Self {
        let redirected = redirected_streams(scenario, connection);
        let mut sequence = Self::default();
        let windows = ReceiveWindows::from_opening(connection.opening.as_ref());
        let mut requests: Vec<u32> = Vec::new();
        // The first SETTINGS and WINDOW_UPDATE are compared as the opening.
        let mut opening = (true, true);
        for control in &connection.control {
            // Streams are labelled by the number of their request: the list of requests compares the ids.
            let label = |stream: u32| match requests.iter().position(|known| *known == stream) {
                Some(at) => format!("request {}", at + 1),
                None => format!("stream {stream}"),
            };
            let frame = match control {
                ControlFrame::Request { stream } => {
                    requests.push(*stream);
                    continue;
                }
                ControlFrame::Settings { .. } if std::mem::take(&mut opening.0) => continue,
                ControlFrame::WindowUpdate { stream: 0, .. }
                    if requests.is_empty() && std::mem::take(&mut opening.1) =>
                {
                    continue;
                }
                ControlFrame::WindowUpdate { stream, increment } => {
                    if *stream == 0 {
                        sequence.connection.push(format_share(*increment, windows.connection));
                    } else {
                        sequence.streams.push(format!(
                            "{}: {}",
                            label(*stream),
                            format_share(*increment, windows.stream)
                        ));
                    }
                    continue;
                }
                ControlFrame::SettingsAck => {
                    sequence.settings_acks += 1;
                    continue;
                }
                ControlFrame::Ping { ack: true } => {
                    // A server that closes a connection sends a PING too. Whether the client still
                    // acknowledges it is a race.
                    sequence.ping_acks += usize::from(scenario.name == "pinged");
                    continue;
                }
                // The body of a redirect response is not read. Chrome sends RST_STREAM, unless the response
                // has ended before.
                ControlFrame::Reset { stream, code: CANCEL } if redirected.contains(stream) => continue,
                ControlFrame::Ping { ack: false } => "PING".to_owned(),
                ControlFrame::Settings { values } => format!("SETTINGS {values:?}"),
                ControlFrame::Priority { stream, priority } => {
                    format!("PRIORITY {} {priority:?}", label(*stream))
                }
                ControlFrame::Reset { stream, code } => format!("RST_STREAM {code} of {}", label(*stream)),
                ControlFrame::GoAway { code } => format!("GOAWAY {code}"),
                ControlFrame::Other { kind, len, .. } => format!("type {kind}, {len} bytes"),
            };
            sequence.frames.push(format!("{frame} after request {}", requests.len()));
        }
        sequence
    }
}

/// The streams of requests that were redirected.
fn redirected_streams(scenario: &Scenario, connection: &RecordedConnection) -> Vec<u32> {
    let redirected = || scenario.steps.iter().flat_map(|step| step.requests).filter(|e| e.is_redirected());
    let requests = connection.requests.iter();
    requests.filter(|r| redirected().any(|e| e.path == r.path)).filter_map(|r| r.stream).collect()
}

/// The receive windows that a client announced.
struct ReceiveWindows {
    stream: u32,
    connection: u32,
}

impl ReceiveWindows {
    fn from_opening(opening: Option<&Http2Fingerprint>) -> Self {
        let set = opening.and_then(|o| o.settings.iter().find(|(id, _)| *id == INITIAL_WINDOW_SIZE));
        let more = opening.map_or(0, |opening| opening.window_update);
        Self {
            stream: set.map_or(DEFAULT_WINDOW, |(_, value)| *value),
            connection: DEFAULT_WINDOW.saturating_add(more),
        }
    }
}

/// An increment relative to its window. A client that waits for half of the window sends the update after the
/// frame that exceeds half, so the exact size varies.
fn format_share(increment: u32, window: u32) -> String {
    let half = window / 2;
    if (half..=half.saturating_add(SLACK)).contains(&increment) {
        "half of the window".to_owned()
    } else {
        increment.to_string()
    }
}

const CANCEL: u32 = 8;
const INITIAL_WINDOW_SIZE: u16 = 4;
const DEFAULT_WINDOW: u32 = 65_535;
/// More than a client reads at once, in bytes.
const SLACK: u32 = 256 * 1024;
