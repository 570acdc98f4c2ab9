//! Forms as `multipart/form-data` (RFC 7578), in the form of browsers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::HeaderValue;
use rand::RngExt;
use rand::distr::Alphanumeric;

use super::body::{BodyPart, RequestBody};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// A form with text fields and files, for [`RequestBuilder::multipart`](crate::RequestBuilder::multipart).
///
/// ```
/// use rungs::{FormPart, Multipart};
///
/// let form = Multipart::new()
///     .part("name", FormPart::text("Jane"))
///     .part("photo", FormPart::file("jane.png").content_type("image/png"));
/// # let _ = form;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Multipart {
    parts: Vec<(String, FormPart)>,
}

/// One field of a [`Multipart`] form.
#[derive(Clone, Debug)]
pub struct FormPart {
    source: PartSource,
    file_name: Option<String>,
    content_type: Option<String>,
}

#[derive(Clone, Debug)]
enum PartSource {
    Bytes(Bytes),
    File(PathBuf),
}

impl Multipart {
    /// Creates an empty form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field. Several fields may have the same name.
    #[must_use]
    pub fn part(mut self, name: impl Into<String>, part: FormPart) -> Self {
        self.parts.push((name.into(), part));
        self
    }

    /// Opens the files and builds the body.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if a file cannot be read. [`ErrorKind::InvalidRequest`] if a content type is malformed.
    pub fn into_body(self) -> Result<RequestBody> {
        let random: String = rand::rng().sample_iter(Alphanumeric).take(16).map(char::from).collect();
        self.encode(&format!("----WebKitFormBoundary{random}"))
    }

    fn encode(self, boundary: &str) -> Result<RequestBody> {
        let mut parts = Vec::new();
        let mut text = String::new();
        for (name, part) in self.parts {
            let _ = write!(text, "--{boundary}\r\n{}\r\n", part.head(&name)?);
            parts.push(BodyPart::Bytes(std::mem::take(&mut text).into()));
            parts.push(match part.source {
                PartSource::Bytes(bytes) => BodyPart::Bytes(bytes),
                PartSource::File(path) => BodyPart::open(&path)?,
            });
            text.push_str("\r\n");
        }
        let _ = write!(text, "--{boundary}--\r\n");
        parts.push(BodyPart::Bytes(text.into()));
        let kind = format!("multipart/form-data; boundary={boundary}");
        let kind = HeaderValue::try_from(kind).expect("a boundary is made of header characters");
        Ok(RequestBody::from_parts(parts).with_content_type(kind))
    }
}

impl FormPart {
    /// A text field.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes(text.into())
    }

    /// A field with these bytes. It is a file if it has a [`file_name`](Self::file_name).
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { source: PartSource::Bytes(bytes.into()), file_name: None, content_type: None }
    }

    /// The file `path`, with its own name and a content type by its extension.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self { source: PartSource::File(path), file_name, content_type: None }
    }

    /// The file name that the server sees. Default: the name of the file, none for text.
    #[must_use]
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// The content type. Default: by the extension of the file name, none for text.
    #[must_use]
    pub fn content_type(mut self, kind: impl Into<String>) -> Self {
        self.content_type = Some(kind.into());
        self
    }

    /// Returns the header lines of the part.
    fn head(&self, name: &str) -> Result<String> {
        let mut head = format!("Content-Disposition: form-data; name=\"{}\"", escape(name));
        if let Some(file) = &self.file_name {
            let _ = write!(head, "; filename=\"{}\"", escape(file));
        }
        head.push_str("\r\n");
        let guessed = self.file_name.as_deref().map(guess_content_type);
        if let Some(kind) = self.content_type.as_deref().or(guessed) {
            if kind.contains(|c: char| c.is_control()) {
                let message =
                    format!("the content type of the form field `{}` is malformed", name.escape_debug());
                return Err(Error::new(ErrorKind::InvalidRequest, message));
            }
            let _ = write!(head, "Content-Type: {kind}\r\n");
        }
        Ok(head)
    }
}

/// Escapes a name as the HTML standard says ("multipart form data").
fn escape(name: &str) -> String {
    name.replace('\r', "%0D").replace('\n', "%0A").replace('"', "%22")
}

/// Returns the content type that Chromium gives to a file with this name.
fn guess_content_type(name: &str) -> &'static str {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    let extension = extension.unwrap_or_default().to_ascii_lowercase();
    let known = CONTENT_TYPES.iter().find(|(names, _)| names.split(' ').any(|name| name == extension));
    known.map_or("application/octet-stream", |(_, kind)| kind)
}

/// The common types of Chromium's table.
const CONTENT_TYPES: [(&str, &str); 33] = [
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz tgz", "application/x-gzip"),
    ("html htm shtml", "text/html"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar"),
    ("jpg jpeg jfif pjpeg pjp", "image/jpeg"),
    ("js mjs", "text/javascript"),
    ("json", "application/json"),
    ("m4a", "audio/x-m4a"),
    ("mp3", "audio/mpeg"),
    ("mp4 m4v", "video/mp4"),
    ("oga ogg opus", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("svg svgz", "image/svg+xml"),
    ("tif tiff", "image/tiff"),
    ("txt text", "text/plain"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml xsl", "text/xml"),
    ("zip", "application/zip"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_form_has_the_form_of_browsers() {
        let file = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
        std::fs::write(file.path(), b"\x89PNG\r\n").unwrap();
        let form = Multipart::new()
            .part("a\"\r\nb", FormPart::text("1"))
            .part("f", FormPart::file(file.path()).file_name("x.PDF"))
            .part("g", FormPart::file(file.path()).file_name("y").content_type("a/b"));
        let body = form.encode("X").unwrap();
        let expected = "--X\r\nContent-Disposition: form-data; name=\"a%22%0D%0Ab\"\r\n\r\n1\r\n\
            --X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.PDF\"\r\n\
            Content-Type: application/pdf\r\n\r\n\u{89}PNG\r\n\r\n\
            --X\r\nContent-Disposition: form-data; name=\"g\"; filename=\"y\"\r\nContent-Type: a/b\r\n\r\n\
            \u{89}PNG\r\n\r\n--X--\r\n";
        let expected: Vec<u8> = expected.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        assert_eq!(body.length(), expected.len() as u64);
        assert_eq!(body.read(u64::MAX).await.unwrap(), expected);
    }

    #[test]
    fn a_content_type_cannot_add_header_lines() {
        let form = Multipart::new().part("a", FormPart::text("1").content_type("a/b\r\nX: y"));
        assert_eq!(form.into_body().unwrap_err().kind(), ErrorKind::InvalidRequest);
        let missing = Multipart::new().part("a", FormPart::file("/nonexistent/file"));
        assert_eq!(missing.into_body().unwrap_err().kind(), ErrorKind::Io);
    }
}
