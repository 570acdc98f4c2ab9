//! Reads the request body from the arguments.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rungs::{FormPart, Multipart, RequestBody};

use super::args::{DataKind, RequestArgs};
use super::exit::Failure;
use super::terminal;

/// Reads the body of `-d` and the like, `--json` or `-F`.
pub(crate) fn read(args: &RequestArgs) -> Result<Option<RequestBody>, Failure> {
    if args.data.pieces.first().is_some_and(|(kind, _)| kind.is_form()) {
        return read_form(args).map(Some);
    }
    Ok(read_data(args)?.map(RequestBody::from))
}

/// Reads the body of `-d` and the like, joined with `&`, or of `--json`.
pub(crate) fn read_data(args: &RequestArgs) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(text) = &args.json {
        return read_text_or_file("--json", text).map(Some);
    }
    if args.data.pieces.is_empty() {
        return Ok(None);
    }
    let parts: Result<Vec<_>, _> =
        args.data.pieces.iter().map(|(kind, text)| read_piece(*kind, text)).collect();
    Ok(Some(parts?.join(&b'&')))
}

fn read_piece(kind: DataKind, text: &str) -> Result<Vec<u8>, Failure> {
    match kind {
        DataKind::Raw => Ok(text.as_bytes().to_vec()),
        DataKind::Binary => read_text_or_file("--data-binary", text),
        DataKind::UrlEncode => read_encoded(text),
        DataKind::Text | DataKind::Form | DataKind::FormString => {
            let mut part = read_text_or_file("-d/--data", text)?;
            if text.starts_with('@') {
                part.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
            }
            Ok(part)
        }
    }
}

/// Reads `CONTENT`, `=CONTENT`, `NAME=CONTENT`, `@FILE` or `NAME@FILE`, and encodes the content.
fn read_encoded(text: &str) -> Result<Vec<u8>, Failure> {
    let (name, content) = if let Some((name, content)) = text.split_once('=') {
        (name, content.as_bytes().to_vec())
    } else if let Some((name, file)) = text.split_once('@') {
        (name, read_file("--data-urlencode", file)?)
    } else {
        ("", text.as_bytes().to_vec())
    };
    let encoded = percent_encode(&content, &ENCODE_SET).to_string().replace("%20", "+");
    Ok(if name.is_empty() { encoded } else { format!("{name}={encoded}") }.into_bytes())
}

/// Returns the text itself, or for `@FILE` and `@-` the content of the file or stdin.
fn read_text_or_file(flag: &str, text: &str) -> Result<Vec<u8>, Failure> {
    text.strip_prefix('@').map_or_else(|| Ok(text.as_bytes().to_vec()), |name| read_file(flag, name))
}

/// Reads a file, or stdin for `-`.
fn read_file(flag: &str, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if name == "-" {
        std::io::stdin().read_to_end(&mut bytes)
    } else {
        File::open(name).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|cause| Failure::Io(format!("{flag}: could not read {name}"), cause))?;
    Ok(bytes)
}

fn read_form(args: &RequestArgs) -> Result<RequestBody, Failure> {
    let mut form = Multipart::new();
    for (kind, text) in &args.data.pieces {
        let Some((name, content)) = text.split_once('=') else {
            return Err(Failure::Usage("-F/--form: write a field as `NAME=CONTENT`".to_owned()));
        };
        if *kind == DataKind::FormString {
            form = form.part(name, FormPart::text(content));
            continue;
        }
        for part in parse_form_content(content)? {
            form = form.part(name, part);
        }
    }
    Ok(form.into_body()?)
}

/// Parses the content of `-F`: text, `@FILE[,FILE]` or `<FILE`, each with attributes.
fn parse_form_content(content: &str) -> Result<Vec<FormPart>, Failure> {
    let Some(sigil) = content.chars().next().filter(|c| matches!(c, '@' | '<')) else {
        let (text, attributes, _) = parse_item(content, false);
        return Ok(vec![apply_attributes(FormPart::text(text), &attributes)]);
    };
    let mut parts = Vec::new();
    let mut rest = Some(&content[1..]);
    while let Some(item) = rest {
        let (file, attributes, next) = parse_item(item, true);
        let part = match (sigil, file.as_str()) {
            ('@', "-") => FormPart::bytes(read_file("-F/--form", "-")?).file_name("-"),
            ('@', file) => {
                check_readable(file)?;
                FormPart::file(file)
            }
            (_, file) => FormPart::bytes(read_file("-F/--form", file)?),
        };
        parts.push(apply_attributes(part, &attributes));
        rest = next;
    }
    Ok(parts)
}

fn check_readable(file: &str) -> Result<(), Failure> {
    let failed = |cause| Failure::Io(format!("-F/--form: could not read {file}"), cause);
    let metadata = Path::new(file).metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    Ok(())
}

/// Applies `type` and `filename`.
fn apply_attributes(mut part: FormPart, attributes: &[(String, String)]) -> FormPart {
    for (name, value) in attributes {
        match name.as_str() {
            "type" => part = part.content_type(value),
            "filename" => part = part.file_name(value),
            _ => {
                let _ = writeln!(terminal::stderr(), "warning: -F/--form: the attribute `{name}` is ignored");
            }
        }
    }
    part
}

/// A content or file name, its attributes, and the next file of a list.
type FormItem<'a> = (String, Vec<(String, String)>, Option<&'a str>);

/// Parses one item: a word and `;NAME=VALUE` attributes, up to a comma if `in_list`. A media type may have parameters of
/// its own, as in `type=text/plain;charset=utf-8`.
fn parse_item(text: &str, in_list: bool) -> FormItem<'_> {
    let ends: &[char] = if in_list { &[';', ','] } else { &[';'] };
    let (content, mut rest) = parse_word(text, ends);
    let mut attributes: Vec<(String, String)> = Vec::new();
    while let Some(after) = rest.strip_prefix(';') {
        let after = after.trim_start();
        let end = after.find(['=', ';', ',']).unwrap_or(after.len());
        let name = after[..end].trim().to_ascii_lowercase();
        let value = after[end..].strip_prefix('=');
        let (value, following) =
            value.map_or((String::new(), &after[end..]), |value| parse_word(value, ends));
        match attributes.last_mut() {
            Some((last, kind))
                if last == "type"
                    && name != "filename"
                    && name != "type"
                    && !KNOWN.contains(&name.as_str()) =>
            {
                kind.extend([";", &name, "=", &value]);
            }
            _ => attributes.push((name, value)),
        }
        rest = following;
    }
    (content, attributes, rest.strip_prefix(','))
}

/// Parses a word up to one of `ends`, or a quoted word with backslash escapes. A quote without its end is text.
fn parse_word<'a>(text: &'a str, ends: &[char]) -> (String, &'a str) {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    let rest = &quoted[at + 1..];
                    return (value, rest.find(ends).map_or("", |end| &rest[end..]));
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                    other => value.extend(std::iter::once('\\').chain(other.map(|(_, c)| c))),
                },
                _ => value.push(c),
            }
        }
    }
    let end = text.find(ends).unwrap_or(text.len());
    (text[..end].to_owned(), &text[end..])
}

/// The characters that `--data-urlencode` encodes: all but the unreserved ones of RFC 3986.
const ENCODE_SET: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Attributes of curl that are not parameters of a media type.
const KNOWN: [&str; 2] = ["headers", "encoder"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_encoded_as_curl_encodes_it() {
        for (text, encoded) in [
            ("a b&c", "a+b%26c"),
            ("=x=y", "x%3Dy"),
            ("n=v v~_-.", "n=v+v~_-."),
            ("n=", "n="),
            ("ü+", "%C3%BC%2B"),
        ] {
            assert_eq!(String::from_utf8(read_encoded(text).unwrap()).unwrap(), encoded, "{text}");
        }
    }

    #[test]
    fn form_items_have_the_syntax_of_curl() {
        let owned = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        for (text, in_list, content, attributes, next) in [
            ("b;type=text/plain", false, "b", vec![("type", "text/plain")], None),
            ("a,b", false, "a,b", vec![], None),
            ("\"a;b\"", false, "a;b", vec![], None),
            ("\"x", false, "\"x", vec![], None),
            (
                "f.txt;filename=\"z;\\\"y.txt\";type=image/png",
                true,
                "f.txt",
                vec![("filename", "z;\"y.txt"), ("type", "image/png")],
                None,
            ),
            (
                "f;type=text/html;charset=utf-8;filename=x",
                true,
                "f",
                vec![("type", "text/html;charset=utf-8"), ("filename", "x")],
                None,
            ),
            ("a;type=x/y,b", true, "a", vec![("type", "x/y")], Some("b")),
            ("a;b=c", false, "a", vec![("b", "c")], None),
        ] {
            let expected = (content.to_owned(), owned(&attributes), next);
            assert_eq!(parse_item(text, in_list), expected, "{text}");
        }
    }
}
