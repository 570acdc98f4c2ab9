//! The index (CDXJ) and the list of pages, made from the records of a WARC.

use std::io::{self, BufRead, Write};

use http::{HeaderMap, HeaderName, HeaderValue};
use rusqlite::Connection;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::DATA_NAME;
use super::surt::surt;
use super::warc_reader::{WarcReader, WarcRecord};
use crate::detect;
use crate::text::charset;

/// The lines of the index. They are sorted on disk, because an archive may have millions.
pub(super) struct Index(Connection);

/// The page that a replay tool opens first.
#[derive(Debug)]
pub(super) struct MainPage {
    pub(super) url: String,
    pub(super) date: String,
}

#[derive(Serialize)]
struct IndexEntry<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mime: &'a str,
    status: String,
    digest: &'a str,
    length: String,
    offset: String,
    filename: &'a str,
}

/// A response that was read.
struct Response {
    url: Url,
    status: u16,
    headers: HeaderMap,
    /// Where its body begins in the block.
    body_at: usize,
}

/// A line of the list of pages.
#[derive(Serialize)]
struct PageEntry {
    id: String,
    url: String,
    ts: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

impl Index {
    /// Indexes the records, and writes the pages to `pages`. Returns also the first page.
    pub(super) fn build(from: impl BufRead, mut pages: impl Write) -> io::Result<(Self, Option<MainPage>)> {
        let index = Self::create().map_err(io::Error::other)?;
        writeln!(pages, "{}", json!({"format": "json-pages-1.0", "id": "pages", "title": "All pages"}))?;
        let (mut reader, mut last, mut main_page) = (WarcReader::new(from), None, None);
        while let Some(record) = reader.next()? {
            match record.field("WARC-Type") {
                "response" => last = index.insert(&record)?,
                // Each fetch ends with it.
                "metadata" => {
                    let Some(page) = last.take().filter(|_| !has_error(&record)) else { continue };
                    serde_json::to_writer(&mut pages, &page)?;
                    pages.write_all(b"\n")?;
                    main_page.get_or_insert(MainPage { url: page.url, date: page.ts });
                }
                _ => {}
            }
        }
        pages.flush()?;
        index.0.execute_batch("COMMIT").map_err(io::Error::other)?;
        Ok((index, main_page))
    }

    fn create() -> rusqlite::Result<Self> {
        // The empty name is a temporary file that SQLite removes.
        let connection = Connection::open("")?;
        connection.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; CREATE TABLE entry (line TEXT); BEGIN",
        )?;
        Ok(Self(connection))
    }

    /// Adds a response. Returns its line in the list of pages, if it is a page.
    fn insert(&self, record: &WarcRecord) -> io::Result<Option<PageEntry>> {
        let Some(response) = Response::parse(record) else { return Ok(None) };
        let mime = charset::essence(&response.headers);
        let entry = IndexEntry {
            url: response.url.as_str(),
            mime: &mime,
            status: response.status.to_string(),
            digest: record.field("WARC-Payload-Digest"),
            length: record.len.to_string(),
            offset: record.offset.to_string(),
            filename: DATA_NAME,
        };
        let date = record.field("WARC-Date");
        let digits: String = date.chars().filter(char::is_ascii_digit).take(14).collect();
        let line = format!("{} {digits} {}", surt(&response.url), serde_json::to_string(&entry)?);
        self.0.execute("INSERT INTO entry VALUES (?1)", [line]).map_err(io::Error::other)?;
        let is_page = response.status == 200 && matches!(&*mime, "text/html" | "application/xhtml+xml");
        Ok(is_page.then(|| PageEntry {
            id: record.field("WARC-Record-ID").trim_matches(['<', '>']).replace("urn:uuid:", ""),
            url: response.url.to_string(),
            ts: date.to_owned(),
            title: response.title(&record.start),
        }))
    }

    /// Writes the lines in the order of their bytes.
    pub(super) fn write_sorted(&self, mut into: impl Write) -> io::Result<()> {
        let mut select = self.0.prepare("SELECT line FROM entry ORDER BY line").map_err(io::Error::other)?;
        let mut rows = select.query([]).map_err(io::Error::other)?;
        while let Some(row) = rows.next().map_err(io::Error::other)? {
            let line = row.get_ref(0).map_err(io::Error::other)?;
            into.write_all(line.as_bytes().map_err(io::Error::other)?)?;
            into.write_all(b"\n")?;
        }
        Ok(())
    }
}

impl Response {
    fn parse(record: &WarcRecord) -> Option<Self> {
        let url = Url::parse(record.field("WARC-Target-URI")).ok()?;
        let mut fields = vec![httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(body_at) = head.parse(&record.start).ok()? else { return None };
        let fields = head.headers.iter().filter_map(|field| {
            Some((HeaderName::try_from(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?))
        });
        Some(Self { url, status: head.code?, headers: fields.collect(), body_at })
    }

    fn title(&self, block: &[u8]) -> Option<String> {
        let body = block.get(self.body_at..)?;
        let text = charset::decode(&self.headers, &self.url, &body[..body.len().min(MAX_TITLE_SEARCH)])?;
        detect::title(text.as_bytes()).filter(|title| !title.is_empty())
    }
}

/// Whether a `metadata` record has an error.
fn has_error(record: &WarcRecord) -> bool {
    #[derive(Deserialize)]
    struct Metadata {
        error: Option<IgnoredAny>,
    }
    let text = String::from_utf8_lossy(&record.start);
    let json = text.lines().find_map(|line| line.strip_prefix("rungs: "));
    // A record that is longer than what was read of it has extracted data, so it has no error.
    json.and_then(|json| serde_json::from_str::<Metadata>(json).ok())
        .is_some_and(|metadata| metadata.error.is_some())
}

const MAX_FIELDS: usize = 1024;
const MAX_TITLE_SEARCH: usize = 64 << 10;
