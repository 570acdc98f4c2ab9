//! Reads the entries of sitemaps, RSS and Atom from XML that may be damaged. Pure.
//!
//! A `&` that begins no reference is text, and a missing end tag is tolerated. The reader never guesses the rest of an
//! entry that the end of the file cuts.

use std::collections::HashMap;

use super::sitemap_entries::SitemapEntries;

/// Reads the entries. Fails if the root element is not that of a sitemap or a feed.
pub(super) fn read_xml(text: &str, entries: &mut SitemapEntries) -> Result<(), String> {
    let mut reader =
        XmlReader { text, at: 0, path: Vec::new(), entry: None, entities: HashMap::new(), root: None };
    reader.read(entries)?;
    match reader.root {
        Some(Root::Other) | None => {
            Err("the root element is none of urlset, sitemapindex, rss, RDF and feed".to_owned())
        }
        Some(_) => Ok(()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Sitemap,
    Feed,
    Other,
}

struct XmlReader<'a> {
    text: &'a str,
    at: usize,
    /// The names of the open elements, with their prefixes.
    path: Vec<&'a str>,
    entry: Option<Entry>,
    /// The entities that the document type declares.
    entities: HashMap<&'a str, String>,
    root: Option<Root>,
}

/// The text of an element that contains a URL.
struct Entry {
    start: usize,
    /// The number of open elements, with its own.
    depth: usize,
    kind: EntryKind,
    text: String,
    /// Why the text is incomplete.
    problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryKind {
    Page,
    Sitemap,
}

impl<'a> XmlReader<'a> {
    fn read(&mut self, entries: &mut SitemapEntries) -> Result<(), String> {
        while self.at < self.text.len() {
            let rest = &self.text[self.at..];
            let Some(found) = rest.find('<') else {
                self.push_text(rest);
                self.at = self.text.len();
                break;
            };
            self.push_text(&rest[..found]);
            self.at += found;
            if entries.is_full() {
                return Ok(());
            }
            if !self.read_markup(entries)? {
                break;
            }
        }
        if let Some(entry) = self.entry.take() {
            entries
                .add_problem(|| format!("{}: the sitemap ends within an entry", self.position(entry.start)));
        } else if let Some(open) = self.path.last().filter(|_| self.root != Some(Root::Other)) {
            let position = self.position(self.text.len());
            entries.add_problem(|| format!("{position}: the sitemap ends within `{}`", open.escape_debug()));
        }
        Ok(())
    }

    /// Reads the markup at `<`. Returns false if the file ends within it.
    fn read_markup(&mut self, entries: &mut SitemapEntries) -> Result<bool, String> {
        let rest = &self.text[self.at..];
        if let Some(content) = rest.strip_prefix("<![CDATA[") {
            let Some((inside, _)) = content.split_once("]]>") else { return Ok(false) };
            if let Some(entry) = &mut self.entry {
                entry.text.push_str(inside);
            }
            self.at += "<![CDATA[".len() + inside.len() + "]]>".len();
            return Ok(true);
        }
        for (start, end) in [("<!--", "-->"), ("<?", "?>")] {
            if let Some(content) = rest.strip_prefix(start) {
                let Some(length) = content.find(end) else { return Ok(false) };
                self.at += start.len() + length + end.len();
                return Ok(true);
            }
        }
        if rest.starts_with("<!") {
            return Ok(self.read_doctype(rest));
        }
        let name_start = 1 + usize::from(rest[1..].starts_with('/'));
        if !rest[name_start..].starts_with(|c: char| c.is_alphabetic() || c == '_') {
            self.push_text("<");
            self.at += 1;
            return Ok(true);
        }
        let Some((end, length)) = find_tag_end(rest) else { return Ok(false) };
        let tag = &rest[name_start..end];
        let start = self.at;
        self.at += length;
        if name_start == 2 {
            self.close(tag.trim_end(), entries);
        } else {
            self.open(tag, start, entries)?;
        }
        Ok(true)
    }

    fn open(&mut self, tag: &'a str, start: usize, entries: &mut SitemapEntries) -> Result<(), String> {
        if self.path.len() >= MAX_NESTING {
            return Err(format!("elements are nested more than {MAX_NESTING} levels"));
        }
        // An entry contains no elements: its end tag is missing.
        self.finish_entry(entries);
        let is_empty = tag.ends_with('/');
        let tag = tag.strip_suffix('/').unwrap_or(tag);
        let name = &tag[..tag.find(|c: char| c.is_ascii_whitespace()).unwrap_or(tag.len())];
        if self.path.is_empty() && self.root.is_none() {
            self.root = Some(match local(name) {
                "urlset" | "sitemapindex" => Root::Sitemap,
                "rss" | "RDF" | "feed" => Root::Feed,
                _ => Root::Other,
            });
        }
        self.read_atom_link(name, &tag[name.len()..], start, entries);
        if is_empty {
            return Ok(());
        }
        let kind = self.entry_kind(name, &tag[name.len()..]);
        self.path.push(name);
        self.entry = kind.map(|kind| Entry {
            start,
            depth: self.path.len(),
            kind,
            text: String::new(),
            problem: None,
        });
        Ok(())
    }

    /// Returns the kind of entry that an element in the open element contains.
    fn entry_kind(&self, name: &str, attributes: &str) -> Option<EntryKind> {
        let parent = self.path.last()?;
        match (self.root?, local(parent), local(name)) {
            // `image:loc` is not a page.
            (Root::Sitemap, "url", "loc") if prefix(parent) == prefix(name) => Some(EntryKind::Page),
            (Root::Sitemap, "sitemap", "loc") if prefix(parent) == prefix(name) => Some(EntryKind::Sitemap),
            // `atom:link` is not a page.
            (Root::Feed, "item", "link")
                if prefix(parent) == prefix(name) && attribute(attributes, "href").is_none() =>
            {
                Some(EntryKind::Page)
            }
            _ => None,
        }
    }

    /// Adds the page of a `link` element of an Atom entry.
    fn read_atom_link(&self, name: &str, attributes: &str, start: usize, entries: &mut SitemapEntries) {
        let is_link = self.root == Some(Root::Feed)
            && local(name) == "link"
            && self
                .path
                .last()
                .is_some_and(|parent| local(parent) == "entry" && prefix(parent) == prefix(name));
        if !is_link || attribute(attributes, "rel").is_some_and(|rel| rel != "alternate") {
            return;
        }
        let Some(href) = attribute(attributes, "href") else { return };
        let mut entry = Entry { start, depth: 0, kind: EntryKind::Page, text: String::new(), problem: None };
        self.decode_into(&mut entry, href);
        self.add_entry(&entry, entries);
    }

    fn close(&mut self, name: &str, entries: &mut SitemapEntries) {
        let Some(at) = self.path.iter().rposition(|open| *open == name) else {
            let position = self.position(self.at);
            entries.add_problem(|| format!("{position}: `{}` is closed but not open", name.escape_debug()));
            return;
        };
        self.finish_entry_of(at + 1, entries);
        self.path.truncate(at);
    }

    /// Adds the open entry. Its end tag is missing unless it is the last of `depth` elements.
    fn finish_entry_of(&mut self, depth: usize, entries: &mut SitemapEntries) {
        if self.entry.as_ref().is_some_and(|entry| entry.depth == depth) {
            if let Some(entry) = self.entry.take() {
                self.add_entry(&entry, entries);
            }
        } else {
            self.finish_entry(entries);
        }
    }

    /// Adds an entry whose end tag is missing.
    fn finish_entry(&mut self, entries: &mut SitemapEntries) {
        let Some(entry) = self.entry.take() else { return };
        let position = self.position(entry.start);
        entries.add_problem(|| format!("{position}: an end tag is missing"));
        self.add_entry(&entry, entries);
        self.path.truncate(entry.depth - 1);
    }

    fn add_entry(&self, entry: &Entry, entries: &mut SitemapEntries) {
        let url = entry.text.trim();
        let problem = match &entry.problem {
            Some(problem) => problem,
            None if url.is_empty() => "an entry is empty",
            None if url.contains('\u{fffd}') => "the URL is not valid in the encoding of the sitemap",
            None => {
                let list =
                    if entry.kind == EntryKind::Page { &mut entries.pages } else { &mut entries.sitemaps };
                list.push(url.to_owned());
                return;
            }
        };
        let position = self.position(entry.start);
        entries.add_problem(|| format!("{position}: {problem}"));
    }

    fn push_text(&mut self, text: &str) {
        if let Some(mut entry) = self.entry.take() {
            if entry.text.len() + text.len() > MAX_ENTRY {
                entry.problem = Some(format!("the URL exceeds {MAX_ENTRY} bytes"));
            } else {
                self.decode_into(&mut entry, text);
            }
            self.entry = Some(entry);
        }
    }

    /// Appends text with its references replaced. A `&` that begins none is text.
    fn decode_into(&self, entry: &mut Entry, text: &str) {
        let mut parts = text.split('&');
        entry.text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let is_name = |name: &str| {
                let rest = name.strip_prefix('#').unwrap_or(name);
                !rest.is_empty()
                    && rest.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
            };
            let Some((name, rest)) = part.split_once(';').filter(|(name, _)| is_name(name)) else {
                entry.text.push('&');
                entry.text.push_str(part);
                continue;
            };
            match self.resolve(name) {
                Some(value) => entry.text.push_str(&value),
                None => entry.problem = Some(format!("unknown reference `&{};`", name.escape_debug())),
            }
            entry.text.push_str(rest);
        }
    }

    fn resolve(&self, name: &str) -> Option<String> {
        if let Some(number) = name.strip_prefix('#') {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            return char::from_u32(code).filter(|c| *c != '\0').map(String::from);
        }
        let known = match name {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            "apos" => "'",
            _ => return self.entities.get(name).cloned(),
        };
        Some(known.to_owned())
    }

    /// Reads the document type with the entities that it declares. Returns false if the file ends within it.
    fn read_doctype(&mut self, rest: &'a str) -> bool {
        let (mut quote, mut nesting, mut is_open) = (None, 0_usize, true);
        let mut end = rest.len();
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                _ if quote == Some(c) => quote = None,
                _ if quote.is_some() => {}
                '"' | '\'' => quote = Some(c),
                '[' | '<' => nesting += 1,
                '>' if nesting == 0 => {
                    (end, is_open) = (at, false);
                    break;
                }
                ']' | '>' => nesting = nesting.saturating_sub(1),
                _ => {}
            }
        }
        let doctype = &rest[..end];
        for declaration in doctype.split("<!ENTITY").skip(1).take(MAX_ENTITIES) {
            let mut words = declaration.trim_start().splitn(2, |c: char| c.is_ascii_whitespace());
            let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
            let value = value.trim_start();
            let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
            let Some((value, _)) = value[1..].split_once(quote) else { continue };
            let mut entry =
                Entry { start: 0, depth: 0, kind: EntryKind::Page, text: String::new(), problem: None };
            self.decode_into(&mut entry, value);
            if entry.problem.is_none() && entry.text.len() <= MAX_ENTRY {
                self.entities.entry(name).or_insert(entry.text);
            }
        }
        self.at += end + 1;
        !is_open
    }

    /// Returns line and column of a position.
    fn position(&self, at: usize) -> String {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}")
    }
}

/// Returns the end of the tag at the start of `rest`, and the position behind it. `None` if the file ends within it.
fn find_tag_end(rest: &str) -> Option<(usize, usize)> {
    let mut quote = None;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if quote == Some(byte) => quote = None,
            _ if quote.is_some() => {}
            b'"' | b'\'' => quote = Some(byte),
            b'>' => return Some((at, at + 1)),
            // The end of the tag is missing.
            b'<' => return Some((at, at)),
            _ => {}
        }
    }
    None
}

/// Returns the value of an attribute, with its references.
fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    while let Some((found, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after[1..].split_once(quote)?;
        if found.trim() == name {
            return Some(value);
        }
        rest = next;
    }
    None
}

/// Returns a name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn prefix(name: &str) -> &str {
    name.rsplit_once(':').map_or("", |(prefix, _)| prefix)
}

const MAX_NESTING: usize = 64;
/// Maximum bytes of an entry.
const MAX_ENTRY: usize = 64 * 1024;
const MAX_ENTITIES: usize = 100;

#[cfg(test)]
mod tests {
    use super::super::sitemap_entries::MAX_ENTRIES;
    use super::*;

    fn read(text: &str) -> Result<SitemapEntries, String> {
        let mut entries = SitemapEntries::default();
        read_xml(text, &mut entries).map(|()| entries)
    }

    #[test]
    fn what_can_be_read_is_returned_and_the_rest_is_described() {
        let set = |inside: &str| {
            format!(
                "<urlset xmlns='s'>\n<url><loc>http://a.test/1</loc></url>{inside}<url><loc>http://a.test/9</loc></url></urlset>"
            )
        };
        for (inside, expected, problem) in [
            ("<url><loc>http://a.test/2?a=1&b=2&amp;c=&#51;&copy=4</loc></url>", "/2?a=1&b=2&c=3&copy=4", ""),
            (
                "<url><loc>http://a.test/caf&eacute;</loc></url>",
                "",
                "line 2, column 43: unknown reference `&eacute;`",
            ),
            ("<url><loc>http://a.test/&#0;</loc></url>", "", "unknown reference `&#0;`"),
            ("<url><loc> <![CDATA[ http://a.test/2?x=<&y=1 ]]> </loc></url>", "/2?x=<&y=1", ""),
            ("<url><loc>\nhttp://a.test/2\n</loc><lastmod>x</lastmod></url>", "/2", ""),
            ("<url><loc>http://a.test/2</url>", "/2", "line 2, column 43: an end tag is missing"),
            ("<url><loc>http://a.test/2<lastmod>x</lastmod></url>", "/2", "an end tag is missing"),
            ("<url><loc></loc></url>", "", "an entry is empty"),
            ("<url><loc/></url>", "", ""),
            ("<url></loc></url>", "", "`loc` is closed but not open"),
            ("<url><image:image><image:loc>http://a.test/i</image:loc></image:image></url>", "", ""),
            ("<url><image:loc>http://a.test/i</image:loc><x><loc>http://a.test/i</loc></x></url>", "", ""),
            ("<!-- <url><loc>http://a.test/c</loc></url> --><?pi <loc>?>", "", ""),
            ("<url><loc>http://a.test/2</loc ></url>", "/2", ""),
            ("<url a='>' b=\"<\"><loc>http://a.test/2</loc></url>", "/2", ""),
            ("1 < 2 & 3", "", ""),
        ] {
            let entries = read(&set(inside)).unwrap();
            let mut pages = vec!["http://a.test/1".to_owned()];
            pages.extend((!expected.is_empty()).then(|| format!("http://a.test{expected}")));
            pages.push("http://a.test/9".to_owned());
            assert_eq!(entries.pages, pages, "{inside}");
            assert_eq!(entries.problems.is_empty(), problem.is_empty(), "{inside}: {:?}", entries.problems);
            assert!(
                entries.problems.iter().all(|found| found.contains(problem)),
                "{inside}: {:?}",
                entries.problems
            );
        }
    }

    #[test]
    fn a_cut_entry_is_not_returned_wherever_the_file_ends() {
        let whole = "<?xml version='1.0'?><!DOCTYPE urlset><urlset><url><loc>http://a.test/1</loc></url><!-- x --><url><loc><![CDATA[http://a.test/2]]></loc></url></urlset>";
        let (one, two) = ("http://a.test/1", "http://a.test/2");
        for end in 0..whole.len() {
            let text = &whole[..end];
            let Ok(entries) = read(text) else { continue };
            assert!(!entries.problems.is_empty(), "{text}");
            let count = text.matches("</loc>").count();
            assert_eq!(entries.pages, [one, two][..count], "{text}");
        }
        assert_eq!(
            read(whole).unwrap(),
            SitemapEntries { pages: vec![one.to_owned(), two.to_owned()], ..SitemapEntries::default() }
        );
    }

    #[test]
    fn sitemaps_feeds_and_declared_entities_are_read() {
        for (text, pages, sitemaps) in [
            (
                "<sitemapindex><sitemap><loc>/s1.xml.gz</loc></sitemap></sitemapindex>",
                vec![],
                vec!["/s1.xml.gz"],
            ),
            ("<s:urlset xmlns:s='x'><s:url><s:loc>/1</s:loc></s:url></s:urlset>", vec!["/1"], vec![]),
            (
                "<rss version='2.0'><channel><link>/home</link><atom:link href='/self'/><item><link>/1</link><guid>/g</guid></item>\
                <item><atom:link href='/x'/><link>/2?a=1&amp;b=2</link></item></channel></rss>",
                vec!["/1", "/2?a=1&b=2"],
                vec![],
            ),
            (
                "<feed xmlns='http://www.w3.org/2005/Atom'><link href='/home'/><entry><link href='/1?a=1&amp;b=2'/><link rel='edit' href='/e'/></entry>\
                <entry><link rel=\"alternate\" type='text/html' href=\"/2\"></link><content><a href='/c'>x</a></content></entry></feed>",
                vec!["/1?a=1&b=2", "/2"],
                vec![],
            ),
            (
                "<rdf:RDF><channel><link>/home</link></channel><item><link>/1</link></item></rdf:RDF>",
                vec!["/1"],
                vec![],
            ),
            (
                "<!DOCTYPE urlset [<!ENTITY base 'http://a.test/'> <!ENTITY x SYSTEM 'file:///etc/passwd'>]><urlset><url><loc>&base;1</loc></url></urlset>",
                vec!["http://a.test/1"],
                vec![],
            ),
        ] {
            let entries = read(text).unwrap();
            assert_eq!(
                (entries.pages, entries.sitemaps),
                (
                    pages.into_iter().map(String::from).collect(),
                    sitemaps.into_iter().map(String::from).collect()
                ),
                "{text}"
            );
            assert!(entries.problems.is_empty(), "{text}: {:?}", entries.problems);
        }
        let external = read("<!DOCTYPE u [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><urlset><url><loc>/&x;</loc></url></urlset>").unwrap();
        assert!(
            external.pages.is_empty() && external.problems[0].contains("unknown reference"),
            "{external:?}"
        );
    }

    #[test]
    fn input_that_is_not_a_sitemap_or_is_too_large_is_reported() {
        for text in ["<html><body></body></html>", "<a>", "<!-- x -->"] {
            assert!(read(text).unwrap_err().contains("root element"), "{text}");
        }
        assert!(read(&"<urlset>".repeat(100)).unwrap_err().contains("nested"));
        let many =
            format!("<urlset>{}</urlset>", "<url><loc>http://a.test/</loc></url>".repeat(MAX_ENTRIES + 1));
        let entries = read(&many).unwrap();
        assert_eq!((entries.pages.len(), entries.problems.len()), (MAX_ENTRIES, 1));
        let long = format!("<urlset><url><loc>http://a.test/{}</loc></url></urlset>", "x".repeat(MAX_ENTRY));
        assert!(read(&long).unwrap().pages.is_empty());
        let bad = format!("<urlset>{}</urlset>", "<url><loc>&x;</loc></url>".repeat(100));
        assert_eq!(read(&bad).unwrap().describe_problems().unwrap().matches(';').count(), 20);
    }
}
