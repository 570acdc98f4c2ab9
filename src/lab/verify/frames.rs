//! What a client says on an HTTP/2 connection besides requests.

use super::super::control_frame::ControlFrame;
use super::super::recording::RecordedConnection;
use super::super::scenario::Scenario;
use super::FingerprintLayer;
use super::requests::with_requests;
use super::row::ScenarioComparison;
use crate::fingerprint::Http2Fingerprint;

/// Holds the frames of each connection that are no HEADERS, no DATA and no part of its opening.
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
        let which = |what: &str| format!("connection {n}: {what}");
        row.compare_text(
            FingerprintLayer::Control,
            &which("frames"),
            theirs.frames.join(", "),
            ours.frames.join(", "),
        );
        for (what, theirs, ours) in [
            ("answers to SETTINGS", theirs.settings_acks, ours.settings_acks),
            ("answers to PING", theirs.ping_acks, ours.ping_acks),
        ] {
            row.compare(FingerprintLayer::Control, &which(what), theirs, ours, usize::to_string);
        }
        for (what, theirs, ours) in
            [("streams", theirs.streams, ours.streams), ("connection", theirs.connection, ours.connection)]
        {
            row.compare_text(FingerprintLayer::Windows, &which(what), theirs.join(", "), ours.join(", "));
        }
    }
}

/// A connection's frames. What answers the server comes when the server has spoken: how often
/// counts, not between which of the client's own.
#[derive(Default)]
struct FrameSequence {
    frames: Vec<String>,
    settings_acks: usize,
    ping_acks: usize,
    /// WINDOW_UPDATEs.
    streams: Vec<String>,
    connection: Vec<String>,
}

impl FrameSequence {
    fn from_connection(scenario: &Scenario, connection: &RecordedConnection) -> Self {
        let redirected = redirected_streams(scenario, connection);
        let mut story = Self::default();
        let windows = ReceiveWindows::from_opening(connection.opening.as_ref());
        let mut requests: Vec<u32> = Vec::new();
        // What belongs to the opening is compared there, and comes first.
        let mut opening = (true, true);
        for control in &connection.control {
            // Streams are told by the request's number: which have ids is told by the list of requests.
            let of = |stream: u32| match requests.iter().position(|known| *known == stream) {
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
                        story.connection.push(format_share(*increment, windows.connection));
                    } else {
                        story.streams.push(format!(
                            "{}: {}",
                            of(*stream),
                            format_share(*increment, windows.stream)
                        ));
                    }
                    continue;
                }
                ControlFrame::SettingsAck => {
                    story.settings_acks += 1;
                    continue;
                }
                ControlFrame::Ping { ack: true } => {
                    // The server that closes a connection asks too: whether that is still answered
                    // depends on who is faster.
                    story.ping_acks += usize::from(scenario.name == "pinged");
                    continue;
                }
                // An answer that redirects is left unread: Chrome tells the server so, unless the answer
                // is over before it gets there.
                ControlFrame::Reset { stream, code: CANCEL } if redirected.contains(stream) => continue,
                ControlFrame::Ping { ack: false } => "PING".to_owned(),
                ControlFrame::Settings { values } => format!("SETTINGS {values:?}"),
                ControlFrame::Priority { stream, priority } => {
                    format!("PRIORITY {} {priority:?}", of(*stream))
                }
                ControlFrame::Reset { stream, code } => format!("RST_STREAM {code} of {}", of(*stream)),
                ControlFrame::GoAway { code } => format!("GOAWAY {code}"),
                ControlFrame::Other { kind, len, .. } => format!("type {kind}, {len} bytes"),
            };
            story.frames.push(format!("{frame} after request {}", requests.len()));
        }
        story
    }
}

/// The streams of the requests that were redirected.
fn redirected_streams(scenario: &Scenario, connection: &RecordedConnection) -> Vec<u32> {
    let asks = || scenario.steps.iter().flat_map(|step| step.requests).filter(|ask| ask.is_redirected());
    let requests = connection.requests.iter();
    requests.filter(|r| asks().any(|ask| ask.path == r.path)).filter_map(|r| r.stream).collect()
}

/// The windows a client opened for what it receives.
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

/// An increment as a part of its window: a client that waits for a half has it with the frame that
/// completes it, wherever that ends.
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
/// More than a client takes at once.
const SLACK: u32 = 256 * 1024;
