//! The file of `--hsts`, in the format of curl's HSTS cache.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rungs::fingerprint::lint::Date;
use rungs::output_file::{self, FileMode};
use rungs::{FetcherBuilder, HstsHost, HstsStore};

use super::args::NetworkArgs;
use super::date;
use super::exit::Failure;
use super::terminal;

/// The hosts of `--hsts`, and the file to write them to.
pub(crate) struct HstsFile {
    path: PathBuf,
    store: HstsStore,
    /// The hosts of the file.
    before: Vec<HstsHost>,
}

impl HstsFile {
    /// Reads the file of `--hsts`. A missing file is empty, and lines that are not hosts are skipped, as in curl. Tells the
    /// number of each on stderr.
    pub(crate) fn open(args: &NetworkArgs) -> Result<Option<Self>, Failure> {
        let Some(path) = args.hsts.clone() else { return Ok(None) };
        let store = HstsStore::new();
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(cause) if cause.kind() == ErrorKind::NotFound => String::new(),
            Err(cause) => {
                return Err(Failure::Io(format!("--hsts: could not read {}", path.display()), cause));
            }
        };
        let (shown, skipped) = (path.display(), add_lines(&store, &text));
        if text.lines().filter(|line| is_host_line(line)).count() == skipped.len() && !skipped.is_empty() {
            // The file would be replaced.
            let message =
                format!("--hsts: {shown} has no line of an HSTS file, such as `site.example \"unlimited\"`");
            return Err(Failure::Config(message));
        }
        for (number, reason) in skipped {
            terminal::print_message(&format!("rungs: --hsts: skipped line {number} of {shown}: {reason}"));
        }
        let before = store.list();
        Ok(Some(Self { path, store, before }))
    }

    /// Gives the hosts to a fetcher.
    pub(crate) fn apply(file: Option<&Self>, builder: FetcherBuilder) -> FetcherBuilder {
        match file {
            Some(file) => builder.hsts(file.store.clone()),
            None => builder,
        }
    }

    /// Writes the hosts if responses have changed them.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        if self.store.list() == self.before {
            return Ok(());
        }
        output_file::write(&self.path, format(&self.store).as_bytes(), FileMode::Private)
            .map_err(|cause| Failure::Io(format!("--hsts: could not write {}", self.path.display()), cause))
    }
}

/// Adds the hosts of a file. Returns the number of each line that is skipped, and the reason.
fn add_lines(store: &HstsStore, text: &str) -> Vec<(usize, &'static str)> {
    let mut skipped = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if !is_host_line(line) {
            continue;
        }
        match parse(line.trim()) {
            Ok(host) if store.insert(&host) => {}
            Ok(_) => skipped.push((number, "the first field is not the name of a host")),
            Err(reason) => skipped.push((number, reason)),
        }
    }
    skipped
}

/// Whether a line is neither empty nor a comment.
fn is_host_line(line: &str) -> bool {
    !matches!(line.trim().as_bytes(), [] | [b'#', ..])
}

/// Parses `host "YYYYMMDD HH:MM:SS"`. A dot before the host includes its subdomains.
fn parse(line: &str) -> Result<HstsHost, &'static str> {
    let (name, rest) = line.split_once([' ', '\t']).ok_or("the date is missing")?;
    let date = rest.trim_start().strip_prefix('"').ok_or("the date is not in quotes")?;
    let date = date.split('"').next().unwrap_or(date);
    let parent = name.strip_prefix('.');
    let mut host = HstsHost::new(parent.unwrap_or(name), parent.is_some());
    if date != UNLIMITED {
        host.expires = Some(date::parse(date).ok_or("the date is malformed")?);
    }
    Ok(host)
}

/// Formats the hosts as curl does.
fn format(store: &HstsStore) -> String {
    let mut text = String::from("# Your HSTS cache. https://curl.se/docs/hsts.html\n# Written by rungs.\n");
    for host in store.list() {
        let dot = if host.include_subdomains { "." } else { "" };
        let date = host.expires.map_or(UNLIMITED.to_owned(), format_date);
        let _ = writeln!(text, "{dot}{} \"{date}\"", host.name);
    }
    text
}

fn format_date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let day = Date::from_system_time(time).to_string().replace('-', "");
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    // The format has four digits for the year.
    if day.len() > 8 {
        UNLIMITED.to_owned()
    } else {
        format!("{day} {hours:02}:{minutes:02}:{:02}", seconds % 60)
    }
}

const UNLIMITED: &str = "unlimited";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (HstsStore, Vec<(usize, &'static str)>) {
        let store = HstsStore::new();
        let skipped = add_lines(&store, text);
        (store, skipped)
    }

    #[test]
    fn a_file_of_curl_is_read_and_written() {
        let lines = "a.test \"20991231 23:59:58\"\n.b.test \"unlimited\"\n";
        let (store, skipped) =
            read(&format!("# Your HSTS cache.\r\n\n  {lines}old.test \"20000101 00:00:00\"\r\n"));
        assert!(skipped.is_empty(), "{skipped:?}");
        let written = format(&store);
        assert!(written.starts_with('#') && written.ends_with(lines), "{written}");
        assert_eq!(format(&read(&written).0), written);
    }

    #[test]
    fn lines_that_are_not_hosts_are_skipped() {
        for (line, reason) in [
            ("a.test", "date is missing"),
            ("a.test 20991231 23:59:58", "not in quotes"),
            ("a.test \"soon\"", "malformed"),
            ("127.0.0.1 \"unlimited\"", "not the name of a host"),
            (". \"unlimited\"", "not the name of a host"),
        ] {
            let (store, skipped) = read(&format!("# x\n{line}\nb.test \"unlimited\""));
            assert_eq!((skipped.len(), skipped[0].0), (1, 2), "{line}");
            assert!(skipped[0].1.contains(reason), "{line}: {skipped:?}");
            assert_eq!(store.list().len(), 1, "{line}");
        }
    }
}
