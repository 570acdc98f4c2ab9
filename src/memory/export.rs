//! The memory as JSON Lines: `rungs memory export` writes it and `rungs memory import` reads it.

use std::io::{BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::store::{IdentityRow, Snapshot, TierRow};
use super::tables::SizeRow;
use super::tiers::{StatKey, TierMode};
use super::{DecayingTally, FalseAlarm, MarkupSource, PageSizeModel, SavedIdentity, SavedIdentityKey};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

/// One line of an export.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum ExportLine {
    /// The first line.
    Memory {
        version: u32,
    },
    Evidence {
        site: String,
        group: String,
        rung: TierMode,
        profile: String,
        tally: DecayingTally,
    },
    Usual {
        site: String,
        group: String,
        form: MarkupSource,
        sizes: PageSizeModel,
    },
    Alarm(FalseAlarm),
    Identity {
        host: String,
        who: SavedIdentityKey,
        learned: i64,
        saved: SavedIdentity,
    },
}

/// Writes `snapshot`. Returns the number of lines without the first.
pub(super) fn write(out: &mut impl Write, snapshot: Snapshot) -> std::io::Result<usize> {
    let Snapshot { tallies, page_sizes, false_alarms, identities } = snapshot;
    let count = tallies.len() + page_sizes.len() + false_alarms.len() + identities.len();
    let tallies = tallies.into_iter().map(
        |TierRow { site, key: StatKey { path_prefix: group, mode: rung, profile }, tally }| {
            ExportLine::Evidence { site, group, rung, profile, tally }
        },
    );
    let page_sizes =
        page_sizes.into_iter().map(|SizeRow { site, path_prefix: group, form, model: sizes }| {
            ExportLine::Usual { site, group, form, sizes }
        });
    let identities =
        identities.into_iter().map(|IdentityRow { host, key: who, identity: saved, learned }| {
            ExportLine::Identity { host, who, learned, saved }
        });
    let first = ExportLine::Memory { version: VERSION };
    let false_alarms = false_alarms.into_iter().map(ExportLine::Alarm);
    for line in std::iter::once(first).chain(tallies).chain(page_sizes).chain(false_alarms).chain(identities)
    {
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(count)
}

/// Reads an export.
///
/// # Errors
/// [`ErrorKind::Config`], naming the line, if the input is invalid.
pub(super) fn read(input: &mut impl BufRead, now: i64) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    let mut has_header = false;
    for number in 1.. {
        let line_error = |message: &str| Error::new(ErrorKind::Config, format!("line {number}: {message}"));
        let mut text = Vec::new();
        let length = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut text);
        let length = length.map_err(|cause| line_error("could not read the input").with_source(cause))?;
        if length == 0 {
            break;
        }
        if text.last() != Some(&b'\n') && length as u64 == MAX_LINE {
            return Err(line_error(&format!("longer than {MAX_LINE} bytes")));
        }
        if number > MAX_LINES {
            return Err(line_error(&format!("more than {MAX_LINES} lines")));
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        // Shows the column but not the text, which may contain a cookie.
        let line = serde_json::from_slice(&text).map_err(|cause: serde_json::Error| {
            let message = match cause.classify() {
                serde_json::error::Category::Data => "not a line that this version of rungs writes",
                _ => "not JSON",
            };
            line_error(&format!("{message} (column {})", cause.column()))
        })?;
        match line {
            ExportLine::Memory { version } if !has_header => {
                if !(MIN_VERSION..=VERSION).contains(&version) {
                    let message = format!(
                        "unsupported format version {version}, this build reads {MIN_VERSION} to {VERSION}"
                    );
                    return Err(line_error(&message)
                        .with_hint("use the version of rungs that wrote it, or a newer one"));
                }
                has_header = true;
            }
            _ if !has_header => {
                return Err(line_error("the first line must be {\"kind\":\"memory\",\"version\":3}"));
            }
            ExportLine::Memory { .. } => return Err(line_error("a second header line")),
            ExportLine::Evidence { site, group, rung, profile, tally } => {
                if !is_name(&site) || !is_name(&profile) || !is_name(&group) || !group.starts_with('/') {
                    return Err(line_error("`site`, `group` or `profile` is invalid"));
                }
                if !tally.is_valid() || tally.seen.max(tally.refused) > now + MAX_CLOCK_SKEW {
                    return Err(line_error("`tally` contains an impossible number"));
                }
                snapshot.tallies.push(TierRow {
                    site,
                    key: StatKey { path_prefix: group, mode: rung, profile },
                    tally,
                });
            }
            ExportLine::Usual { site, group, form, sizes } => {
                if !is_name(&site) || !is_name(&group) || !group.starts_with('/') {
                    return Err(line_error("`site` or `group` is invalid"));
                }
                if !sizes.is_valid() || sizes.seen > now + MAX_CLOCK_SKEW {
                    return Err(line_error("`sizes` contains an impossible number"));
                }
                snapshot.page_sizes.push(SizeRow { site, path_prefix: group, form, model: sizes });
            }
            ExportLine::Alarm(alarm) => {
                let section = &alarm.section;
                if !is_name(&section.site)
                    || !is_name(&section.path_prefix)
                    || !section.path_prefix.starts_with('/')
                {
                    return Err(line_error("`site` or `group` is invalid"));
                }
                if !alarm.is_valid() || alarm.seen > now + MAX_CLOCK_SKEW {
                    return Err(line_error("the false alarm contains an impossible value"));
                }
                snapshot.false_alarms.push(alarm);
            }
            ExportLine::Identity { host, who, learned, saved } => {
                let has_names =
                    [&host, &who.session, &who.route, &who.profile].into_iter().all(|text| is_name(text));
                if !has_names || !(who.location.is_empty() || is_name(&who.location)) {
                    return Err(line_error("`host` or `who` is invalid"));
                }
                if !saved.is_valid(&host) || learned.max(saved.state.learned) > now + MAX_CLOCK_SKEW {
                    return Err(line_error("`saved` contains an invalid value"));
                }
                snapshot.identities.push(IdentityRow { host, key: who, identity: saved, learned });
            }
        }
    }
    if !has_header {
        return Err(Error::new(ErrorKind::Config, "the input is empty, not a host memory export"));
    }
    Ok(snapshot)
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The format version that is written, and the oldest that is read. Version 1 had no page sizes and no locations, and 2
/// no false alarms.
const VERSION: u32 = 3;
const MIN_VERSION: u32 = 1;
const MAX_LINE: u64 = 1 << 20;
const MAX_LINES: u32 = 100_000;
const MAX_NAME: usize = 512;
/// How far a timestamp may be in the future, in seconds: a day.
const MAX_CLOCK_SKEW: i64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;
    const FIRST: &str = r#"{"kind":"memory","version":3}"#;
    const EVIDENCE: &str = r#"{"kind":"evidence","site":"a.example","group":"/","rung":"plain","profile":"plain","tally":{"pages":2,"refusals":1,"good":2.0,"bad":1.0,"streak":0,"refused":5,"seen":9}}"#;
    const USUAL: &str = r#"{"kind":"usual","site":"a.example","group":"/","form":"html","sizes":{"pages":12,"mean":9.5,"spread":0.1,"urls":18446744073709551615,"doubts":0,"seen":9}}"#;
    const ALARM: &str =
        r#"{"kind":"alarm","site":"a.example","group":"/","verdict":"challenge","bytes":900,"seen":9}"#;
    const IDENTITY: &str = r#"{"kind":"identity","host":"www.a.example","who":{"session":"own","route":"direct","profile":"p","place":"de-DE"},"learned":9,"saved":{"note":{"proven":true,"moves":true,"clearance":{"cookies":["c"],"until":10},"learned":9},"cookies":[{"name":"c","value":"hunter2","domain":"a.example","host_only":false,"path":"/","expires":null,"secure":true,"http_only":true,"same_site":null}],"hints":[["https://www.a.example",["sec-ch-ua-arch"]]]}}"#;

    fn read_error(lines: &[&str]) -> String {
        let text = lines.join("\n");
        read(&mut text.as_bytes(), NOW).err().map(|error| error.chain()).unwrap_or_default()
    }

    #[test]
    fn an_export_is_read_back_unchanged() {
        let text = [FIRST, EVIDENCE, USUAL, ALARM, IDENTITY, ""].join("\n");
        let mut out = Vec::new();
        assert_eq!(write(&mut out, read(&mut text.as_bytes(), NOW).unwrap()).unwrap(), 4);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn an_older_export_is_read_and_its_identities_have_no_location() {
        let older = IDENTITY.replace(",\"place\":\"de-DE\"", "");
        let text = [&FIRST.replace('3', "1"), EVIDENCE, &older].join("\n");
        let snapshot = read(&mut text.as_bytes(), NOW).unwrap();
        assert_eq!((snapshot.tallies.len(), snapshot.identities[0].key.location.as_str()), (1, ""));
    }

    #[test]
    fn an_error_names_the_invalid_line_and_shows_no_cookies() {
        let other_site = IDENTITY.replace("www.a.example\",\"who", "www.b.example\",\"who");
        for (line, message) in [
            ("{\"kind\":\"evidence\"", "line 2: not JSON (column 18)"),
            (&EVIDENCE.replace("plain", "jet"), "line 2: not a line that this version of rungs writes"),
            (
                &EVIDENCE.replace("\"pages\"", "\"books\""),
                "line 2: not a line that this version of rungs writes",
            ),
            (&EVIDENCE.replace("\"/\"", "\"p\""), "line 2: `site`, `group` or `profile` is invalid"),
            (&EVIDENCE.replace("a.example", "a\\u001b"), "line 2: `site`, `group` or `profile` is invalid"),
            (&ALARM.replace("challenge", "genuine"), "line 2: the false alarm contains an impossible value"),
            (&ALARM.replace("\"/\"", "\"p\""), "line 2: `site` or `group` is invalid"),
            (&EVIDENCE.replace("2.0", "2e9"), "line 2: `tally` contains an impossible number"),
            (
                &EVIDENCE.replace("\"seen\":9", "\"seen\":2000000000"),
                "line 2: `tally` contains an impossible number",
            ),
            (&IDENTITY.replace("true,\"http_only\"", "\"hunter2\",\"http_only\""), "line 2: not a line that"),
            (&other_site, "line 2: `saved` contains an invalid value"),
            (&IDENTITY.replace("de-DE", "\\u001b"), "line 2: `host` or `who` is invalid"),
            (&USUAL.replace("9.5", "95.0"), "line 2: `sizes` contains an impossible number"),
            (&USUAL.replace("\"/\"", "\"p\""), "line 2: `site` or `group` is invalid"),
            (FIRST, "line 2: a second header line"),
            (&"x".repeat(1 << 20), "line 2: longer than 1048576 bytes"),
        ] {
            let error = read_error(&[FIRST, line]);
            assert!(error.starts_with(message) && !error.contains("hunter2"), "{error:?} for {message:?}");
        }
        assert!(read_error(&[EVIDENCE]).starts_with("line 1: the first line must be"));
        assert!(read_error(&[&FIRST.replace('3', "4")]).starts_with("line 1: unsupported format version 4"));
        assert_eq!(read_error(&[]), "the input is empty, not a host memory export");
    }
}
