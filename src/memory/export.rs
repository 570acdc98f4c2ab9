//! The memory as lines of JSON: what `rungs memory export` writes and `import` reads.

use std::io::{BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::store::{IdentityRow, Snapshot, TierRow};
use super::tables::SizeRow;
use super::tiers::{StatKey, TierMode};
use super::{DecayingTally, MarkupSource, PageSizeModel, SavedIdentity, SavedIdentityKey};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum ExportLine {
    /// The first.
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
    Identity {
        host: String,
        who: SavedIdentityKey,
        learned: i64,
        saved: SavedIdentity,
    },
}

/// Writes all of it. How many lines, the first one aside.
pub(super) fn write(out: &mut impl Write, contents: Snapshot) -> std::io::Result<usize> {
    let Snapshot { tallies: seen, page_sizes: usual, identities: held } = contents;
    let count = seen.len() + usual.len() + held.len();
    let seen = seen.into_iter().map(
        |TierRow { site, key: StatKey { path_prefix: group, mode: rung, profile }, tally }| {
            ExportLine::Evidence { site, group, rung, profile, tally }
        },
    );
    let usual = usual.into_iter().map(|SizeRow { site, path_prefix: group, form, model: usual }| {
        ExportLine::Usual { site, group, form, sizes: usual }
    });
    let held = held.into_iter().map(|IdentityRow { host, key: who, identity: saved, learned }| {
        ExportLine::Identity { host, who, learned, saved }
    });
    for line in std::iter::once(ExportLine::Memory { version: VERSION }).chain(seen).chain(usual).chain(held)
    {
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(count)
}

/// Reads all of it.
///
/// # Errors
/// [`ErrorKind::Config`] naming the line that is wrong, [`ErrorKind::Io`].
pub(super) fn read(input: &mut impl BufRead, now: i64) -> Result<Snapshot> {
    let mut contents = Snapshot::default();
    let mut begun = false;
    for number in 1.. {
        let wrong = |what: &str| Error::new(ErrorKind::Config, format!("line {number}: {what}"));
        let mut text = Vec::new();
        let taken = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut text);
        let taken = taken.map_err(|cause| wrong("it cannot be read").with_source(cause))?;
        if taken == 0 {
            break;
        }
        if text.last() != Some(&b'\n') && taken as u64 == MAX_LINE {
            return Err(wrong("it is too long"));
        }
        if number > MAX_LINES {
            return Err(wrong("there are too many lines"));
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        // Its column, but not its text: that may be a cookie.
        let line = serde_json::from_slice(&text).map_err(|cause: serde_json::Error| {
            let what = match cause.classify() {
                serde_json::error::Category::Data => "it is none that this version of rungs writes",
                _ => "it is not JSON",
            };
            wrong(&format!("{what} (column {})", cause.column()))
        })?;
        match line {
            ExportLine::Memory { version } if !begun => {
                if !(MIN_VERSION..=VERSION).contains(&version) {
                    let what = format!("version {version} of the format, and this rungs knows {VERSION}");
                    return Err(wrong(&what).with_hint("use the rungs that wrote it, or a newer one"));
                }
                begun = true;
            }
            _ if !begun => return Err(wrong("the first line must be {\"kind\":\"memory\",\"version\":2}")),
            ExportLine::Memory { .. } => return Err(wrong("a second beginning")),
            ExportLine::Evidence { site, group, rung, profile, tally } => {
                if !is_name(&site) || !is_name(&profile) || !is_name(&group) || !group.starts_with('/') {
                    return Err(wrong("`site`, `group` or `profile` is not one"));
                }
                if !tally.is_valid() || tally.seen.max(tally.refused) > now + MAX_CLOCK_SKEW {
                    return Err(wrong("`tally` has a number that cannot be"));
                }
                contents.tallies.push(TierRow {
                    site,
                    key: StatKey { path_prefix: group, mode: rung, profile },
                    tally,
                });
            }
            ExportLine::Usual { site, group, form, sizes: usual } => {
                if !is_name(&site) || !is_name(&group) || !group.starts_with('/') {
                    return Err(wrong("`site` or `group` is not one"));
                }
                if !usual.is_valid() || usual.seen > now + MAX_CLOCK_SKEW {
                    return Err(wrong("`sizes` has a number that cannot be"));
                }
                contents.page_sizes.push(SizeRow { site, path_prefix: group, form, model: usual });
            }
            ExportLine::Identity { host, who, learned, saved } => {
                let named =
                    [&host, &who.session, &who.route, &who.profile].into_iter().all(|text| is_name(text));
                if !named || !(who.place.is_empty() || is_name(&who.place)) {
                    return Err(wrong("`host` or `who` is not one"));
                }
                if !saved.is_valid(&host) || learned.max(saved.note.learned) > now + MAX_CLOCK_SKEW {
                    return Err(wrong("`saved` holds what cannot be"));
                }
                contents.identities.push(IdentityRow { host, key: who, identity: saved, learned });
            }
        }
    }
    if !begun {
        return Err(Error::new(ErrorKind::Config, "it is empty, and no host memory"));
    }
    Ok(contents)
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The format written, and the oldest that is read: it had no usual sizes and no places.
const VERSION: u32 = 2;
const MIN_VERSION: u32 = 1;
const MAX_LINE: u64 = 1 << 20;
const MAX_LINES: u32 = 100_000;
const MAX_NAME: usize = 512;
/// How far a clock may be ahead of ours, in seconds: a day.
const MAX_CLOCK_SKEW: i64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;
    const FIRST: &str = r#"{"kind":"memory","version":2}"#;
    const EVIDENCE: &str = r#"{"kind":"evidence","site":"a.example","group":"/","rung":"plain","profile":"plain","tally":{"pages":2,"refusals":1,"good":2.0,"bad":1.0,"streak":0,"refused":5,"seen":9}}"#;
    const USUAL: &str = r#"{"kind":"usual","site":"a.example","group":"/","form":"html","sizes":{"pages":12,"mean":9.5,"spread":0.1,"urls":18446744073709551615,"doubts":0,"seen":9}}"#;
    const IDENTITY: &str = r#"{"kind":"identity","host":"www.a.example","who":{"session":"own","route":"direct","profile":"p","place":"de-DE"},"learned":9,"saved":{"note":{"proven":true,"moves":true,"clearance":{"cookies":["c"],"until":10},"learned":9},"cookies":[{"name":"c","value":"hunter2","domain":"a.example","host_only":false,"path":"/","expires":null,"secure":true,"http_only":true,"same_site":null}],"hints":[["https://www.a.example",["sec-ch-ua-arch"]]]}}"#;

    fn read_error(lines: &[&str]) -> String {
        let text = lines.join("\n");
        read(&mut text.as_bytes(), NOW).err().map(|error| error.chain()).unwrap_or_default()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = [FIRST, EVIDENCE, USUAL, IDENTITY, ""].join("\n");
        let mut out = Vec::new();
        assert_eq!(write(&mut out, read(&mut text.as_bytes(), NOW).unwrap()).unwrap(), 3);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn an_older_export_is_read_and_its_identities_are_of_no_place() {
        let older = IDENTITY.replace(",\"place\":\"de-DE\"", "");
        let text = [&FIRST.replace('2', "1"), EVIDENCE, &older].join("\n");
        let contents = read(&mut text.as_bytes(), NOW).unwrap();
        assert_eq!((contents.tallies.len(), contents.identities[0].key.place.as_str()), (1, ""));
    }

    #[test]
    fn an_error_names_the_wrong_line_and_shows_no_cookies() {
        let other_site = IDENTITY.replace("www.a.example\",\"who", "www.b.example\",\"who");
        for (line, message) in [
            ("{\"kind\":\"evidence\"", "line 2: it is not JSON (column 18)"),
            (&EVIDENCE.replace("plain", "jet"), "line 2: it is none that this version of rungs writes"),
            (
                &EVIDENCE.replace("\"pages\"", "\"books\""),
                "line 2: it is none that this version of rungs writes",
            ),
            (&EVIDENCE.replace("\"/\"", "\"p\""), "line 2: `site`, `group` or `profile` is not one"),
            (&EVIDENCE.replace("a.example", "a\\u001b"), "line 2: `site`, `group` or `profile` is not one"),
            (&EVIDENCE.replace("2.0", "2e9"), "line 2: `tally` has a number that cannot be"),
            (
                &EVIDENCE.replace("\"seen\":9", "\"seen\":2000000000"),
                "line 2: `tally` has a number that cannot be",
            ),
            (&IDENTITY.replace("true,\"http_only\"", "\"hunter2\",\"http_only\""), "line 2: it is none that"),
            (&other_site, "line 2: `saved` holds what cannot be"),
            (&IDENTITY.replace("de-DE", "\\u001b"), "line 2: `host` or `who` is not one"),
            (&USUAL.replace("9.5", "95.0"), "line 2: `sizes` has a number that cannot be"),
            (&USUAL.replace("\"/\"", "\"p\""), "line 2: `site` or `group` is not one"),
            (FIRST, "line 2: a second beginning"),
            (&"x".repeat(1 << 20), "line 2: it is too long"),
        ] {
            let told = read_error(&[FIRST, line]);
            assert!(told.starts_with(message) && !told.contains("hunter2"), "{told:?} for {message:?}");
        }
        assert!(read_error(&[EVIDENCE]).starts_with("line 1: the first line must be"));
        assert!(read_error(&[&FIRST.replace('2', "3")]).starts_with("line 1: version 3 of the format"));
        assert_eq!(read_error(&[]), "it is empty, and no host memory");
    }
}
