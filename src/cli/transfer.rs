//! Uploads, conditional requests and downloads of `rungs fetch`, URL by URL.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use http::{Method, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rungs::output_file::{self, FileMode};
use rungs::{Context, RequestBody, RequestBuilder, Response, parse_url};

use super::args::FetchArgs;
use super::date;
use super::exit::{self, Failure};
use super::output::human::display_url;
use super::request_body;
use super::request_template::RequestTemplate;
use super::terminal::{self, print_message};
use super::url_guess;

/// The transfer of one URL.
pub(crate) struct Transfer {
    /// The URL to request.
    pub(crate) url: String,
    pub(crate) method: Method,
    headers: Vec<(&'static str, String)>,
    upload: Option<RequestBody>,
    context: Option<Context>,
    has_auto_referer: bool,
    destination: Destination,
    /// The first byte that is requested, if it is not the first of the body.
    offset: u64,
}

/// Where the body goes.
enum Destination {
    Stdout,
    File(PathBuf),
    /// A file that may have a part of the body.
    Resumed(PathBuf),
    /// A file that the server names.
    Named,
}

/// Returns the URL of each argument: completed, and with the data of `-G`.
pub(crate) fn complete_urls(args: &FetchArgs) -> Result<Vec<String>, Failure> {
    let data = if args.transfer.get { request_body::read_data(&args.common.request)? } else { None };
    let complete = |text: &String| {
        let url = url_guess::complete(text);
        data.as_ref().map_or_else(|| url.clone(), |data| url_guess::with_query(&url, data))
    };
    Ok(args.urls.iter().map(complete).collect())
}

impl Transfer {
    /// Reads the arguments for the URL at `index`.
    pub(crate) fn for_url(
        args: &FetchArgs,
        template: &RequestTemplate,
        index: usize,
    ) -> Result<Self, Failure> {
        let url = args.urls[index].clone();
        let mut method = template.method.clone();
        if args.transfer.get && args.common.request.method.is_none() && method == Method::POST {
            method = Method::GET;
        }
        let destination = Destination::for_url(args, &url, index)?;
        let mut transfer = Self {
            url,
            method,
            headers: Vec::new(),
            upload: None,
            context: None,
            has_auto_referer: false,
            destination,
            offset: 0,
        };
        if let Some(file) = args.transfer.upload_file.get(index) {
            transfer.set_upload(args, template, file)?;
        } else if let Some(text) = &args.transfer.continue_at {
            transfer.offset = parse_offset(text, &transfer.destination)?;
        }
        transfer.add_headers(args, template)?;
        Ok(transfer)
    }

    /// Applies the transfer to the request.
    pub(crate) fn apply(&self, mut request: RequestBuilder, fail: bool) -> RequestBuilder {
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request = request.auto_referer(self.has_auto_referer);
        if let Some(body) = &self.upload {
            request = request.request_body(body.clone());
        }
        if let Some(context) = self.context {
            request = request.context(context);
        }
        match &self.destination {
            Destination::Stdout if self.offset > 0 => request
                .header("range", format!("bytes={}-", self.offset))
                .header("accept-encoding", "identity"),
            Destination::Stdout => request,
            Destination::File(path) if fail => request.save_success(path),
            Destination::File(path) => request.save(path),
            Destination::Resumed(path) => request.resume(path, self.offset),
            Destination::Named => request.save_in("."),
        }
    }

    /// Whether this status of 400 or more is a failure. It always is if the file does not have the body then. To a resumed
    /// download, 416 says that the file is complete.
    pub(crate) fn is_failure(&self, status: u16, fail: bool) -> bool {
        match self.destination {
            Destination::Resumed(_) => status != 416,
            Destination::Named => true,
            Destination::Stdout | Destination::File(_) => fail || self.offset > 0,
        }
    }

    /// Reports the file, and checks that the response is the requested part. Returns the exit code.
    pub(crate) fn finish(&self, page: &Response, existed: bool, quiet: bool) -> u8 {
        let shown = display_url(&self.url);
        if matches!(self.destination, Destination::Stdout) && self.offset > 0 && page.status().as_u16() == 200
        {
            print_message(&format!(
                "error: the server of {shown} does not support byte ranges: cannot resume"
            ));
            return exit::FAILED;
        }
        let Some(file) = page.file().filter(|_| !quiet) else { return exit::OK };
        match &self.destination {
            Destination::Named => {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let _ = writeln!(terminal::stderr(), "saved {shown} as {name}");
            }
            Destination::File(_) if existed => {
                let _ = writeln!(terminal::stderr(), "replaced {} with {shown}", file.display());
            }
            _ => {}
        }
        exit::OK
    }

    /// Whether the file of `-O` exists, which a message tells when it is replaced.
    pub(crate) fn replaces_named_file(&self, args: &FetchArgs, index: usize) -> bool {
        match &self.destination {
            Destination::File(path) => args.output.files.get(index).is_none() && path.exists(),
            _ => false,
        }
    }

    fn set_upload(
        &mut self,
        args: &FetchArgs,
        template: &RequestTemplate,
        file: &Path,
    ) -> Result<(), Failure> {
        let is_stdin = file == Path::new("-") || file == Path::new(".");
        let body = if is_stdin {
            RequestBody::from_reader(&mut std::io::stdin())?
        } else {
            let offset = match args.transfer.continue_at.as_deref() {
                None | Some("-") => 0,
                Some(text) => parse_number(text)?,
            };
            let body = RequestBody::from_file(file, offset)?;
            if offset > 0 && body.length() > 0 {
                let total = offset + body.length();
                self.headers.push(("content-range", format!("bytes {offset}-{}/{total}", total - 1)));
            }
            body
        };
        if !is_stdin && let Some(name) = file.file_name() {
            self.url = with_file_name(&self.url, &name.to_string_lossy());
        }
        if args.common.request.method.is_none() {
            self.method = Method::PUT;
        }
        self.context = (!template.has_context()).then_some(Context::Fetch);
        self.upload = Some(body);
        Ok(())
    }

    /// Adds the headers of `-e`, `-z` and `--etag-compare` that `-H` does not set.
    fn add_headers(&mut self, args: &FetchArgs, template: &RequestTemplate) -> Result<(), Failure> {
        let transfer = &args.transfer;
        let mut headers = Vec::new();
        if let Some(text) = &transfer.referer {
            let page = text.strip_suffix(AUTO).unwrap_or(text);
            self.has_auto_referer = page.len() < text.len();
            if !page.is_empty() {
                headers.push(("referer", page.to_owned()));
            }
        }
        if let Some(text) = &transfer.time_cond {
            headers.push(time_condition(text)?);
        }
        if let Some(path) = &transfer.etag_compare {
            let etag = read_etag(path)?;
            if self.offset == 0 {
                headers.push(("if-none-match", etag));
            } else if etag.len() > 2 && !etag.starts_with("W/") {
                // A weak validator cannot tell whether the parts belong together.
                headers.push(("if-range", etag));
            }
        }
        headers.retain(|(name, _)| !template.has_header(name));
        self.headers.extend(headers);
        Ok(())
    }
}

impl Destination {
    fn for_url(args: &FetchArgs, url: &str, index: usize) -> Result<Self, Failure> {
        let file = match args.output.files.get(index) {
            Some(path) if path == Path::new("-") => return Ok(Self::Stdout),
            Some(path) => path.clone(),
            None if args.output.remote_header_name => return Ok(Self::Named),
            None if args.output.remote_name => {
                // The fetch of a wrong URL reports the error.
                let Ok(url) = parse_url(url) else { return Ok(Self::Stdout) };
                let name = output_file::name_from_url(&url).ok_or_else(|| {
                    let shown = display_url(url.as_str());
                    Failure::Usage(format!("-O/--remote-name: {shown} has no file name; use -o FILE"))
                })?;
                PathBuf::from(name)
            }
            None => return Ok(Self::Stdout),
        };
        let is_resumed =
            args.transfer.continue_at.is_some() && args.transfer.upload_file.get(index).is_none();
        Ok(if is_resumed { Self::Resumed(file) } else { Self::File(file) })
    }
}

/// Saves the `ETag` of a success to a file. A response without one empties the file.
pub(crate) fn save_etag(path: &Path, page: &Response) -> Result<(), Failure> {
    if !page.status().is_success() {
        return Ok(());
    }
    let mut text =
        page.headers().get(header::ETAG).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    if !text.is_empty() {
        text.push(b'\n');
    }
    output_file::write(path, &text, FileMode::Ordinary)
        .map_err(|cause| Failure::Io(format!("--etag-save: could not write {}", path.display()), cause))
}

/// Returns the first line of an ETag file. A missing or empty file matches no response, as in curl.
fn read_etag(path: &Path) -> Result<String, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(cause) => {
            return Err(Failure::Io(format!("--etag-compare: could not read {}", path.display()), cause));
        }
    };
    let line = text.lines().next().unwrap_or_default().trim();
    Ok(if line.is_empty() { "\"\"".to_owned() } else { line.to_owned() })
}

/// Returns the header of `-z`.
fn time_condition(text: &str) -> Result<(&'static str, String), Failure> {
    let (name, date) =
        text.strip_prefix('-').map_or(("if-modified-since", text), |date| ("if-unmodified-since", date));
    let from_file =
        || -> Option<SystemTime> { std::fs::metadata(date).and_then(|file| file.modified()).ok() };
    let time = date::parse(date).or_else(from_file).ok_or_else(|| {
        let shown = date.escape_debug();
        Failure::Usage(format!(
            "-z/--time-cond: `{shown}` is neither a date nor a file; write `1 Jan 2026 10:00:00 GMT`"
        ))
    })?;
    Ok((name, httpdate::fmt_http_date(time)))
}

/// Returns the offset of `-C`: a number, or for `-` the size of the file.
fn parse_offset(text: &str, destination: &Destination) -> Result<u64, Failure> {
    if text != "-" {
        return parse_number(text);
    }
    match destination {
        Destination::Resumed(path) => Ok(std::fs::metadata(path).map_or(0, |file| file.len())),
        _ => Ok(0),
    }
}

fn parse_number(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| {
        Failure::Usage(format!("-C/--continue-at: `{}` is not a byte offset or `-`", text.escape_debug()))
    })
}

/// Adds the name of an uploaded file to a URL whose path ends with `/`.
fn with_file_name(text: &str, name: &str) -> String {
    let Ok(mut url) = parse_url(text) else { return text.to_owned() };
    if url.path().ends_with('/') {
        let name = utf8_percent_encode(name, &FILE_NAME).to_string();
        let path = format!("{}{name}", url.path());
        url.set_path(&path);
    }
    url.into()
}

/// The characters of a file name that are encoded in a URL.
const FILE_NAME: percent_encoding::AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The suffix of `-e`.
const AUTO: &str = ";auto";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_upload_is_added_to_a_folder() {
        for (url, expected) in [
            ("http://a.example/d/", "http://a.example/d/a%20b%23.txt"),
            ("http://a.example", "http://a.example/a%20b%23.txt"),
            ("http://a.example/d/?x=1", "http://a.example/d/a%20b%23.txt?x=1"),
            ("http://a.example/d", "http://a.example/d"),
        ] {
            assert_eq!(with_file_name(url, "a b#.txt"), expected);
        }
    }

    #[test]
    fn conditions_have_their_headers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e");
        assert_eq!(read_etag(&path).unwrap(), "\"\"");
        std::fs::write(&path, "W/\"x\"\n").unwrap();
        assert_eq!(read_etag(&path).unwrap(), "W/\"x\"");
        let (name, value) = time_condition("-1 Jan 2020").unwrap();
        assert_eq!((name, value.as_str()), ("if-unmodified-since", "Wed, 01 Jan 2020 00:00:00 GMT"));
        assert_eq!(time_condition(path.to_str().unwrap()).unwrap().0, "if-modified-since");
        assert_eq!(time_condition("/nonexistent").unwrap_err().code(), 2);
    }
}
