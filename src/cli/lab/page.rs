//! The HTML page of the lab. All values come from the client, so all are escaped.

use rungs::fingerprint::hpack::HpackField;
use rungs::redact;

use super::ClientReport;

/// Renders the report as an HTML page without scripts.
pub(super) fn html(report: &ClientReport<'_>) -> String {
    let (connection, request) = (&report.connection, report.request);
    let mut page = String::from(HEAD);
    let name = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    write_table(
        &mut page,
        "Fingerprints",
        &[],
        [
            ("JA4", name(&connection.ja4)),
            ("JA4_r", name(&connection.ja4_r)),
            ("JA3", name(&connection.ja3)),
            ("JA3 text", name(&connection.ja3_text)),
            ("Akamai HTTP/2", name(&connection.akamai)),
            ("Akamai hash", name(&connection.akamai_hash)),
            ("TLS session", if connection.resumed { "resumed" } else { "new" }.to_owned()),
        ]
        .map(|(label, value)| vec![label.to_owned(), value]),
    );
    let headers = request.headers.iter().map(|(name, value)| vec![name.clone(), value.clone()]);
    let title = format!("Headers in wire order ({} {})", request.method, request.over.name());
    write_table(&mut page, &title, &["name", "value"], headers);
    if !request.hpack.is_empty() {
        let fields = request.hpack.iter().map(|field| vec![field.name.clone(), format_encoding(field)]);
        write_table(&mut page, "HPACK encoding of the headers", &["name", "representation"], fields);
    }
    if let Some(opening) = &connection.opening {
        let settings = opening.settings.iter().map(|(id, value)| vec![id.to_string(), value.to_string()]);
        write_table(&mut page, "HTTP/2 SETTINGS in order", &["id", "value"], settings);
    }
    if let Some(priority) = request.priority {
        let row = vec![
            priority.weight.to_string(),
            priority.depends_on.to_string(),
            priority.exclusive.to_string(),
        ];
        write_table(&mut page, "Priority", &["weight byte", "depends on", "exclusive"], [row]);
    }
    page.push_str("<p>Full report with the ClientHello: <a href=\"/json\">/json</a>.</p>\n");
    page
}

/// Describes the HPACK representation of a field.
fn format_encoding(field: &HpackField) -> String {
    use rungs::fingerprint::hpack::FieldEncoding;
    let form = match field.form {
        FieldEncoding::Indexed => "indexed",
        FieldEncoding::Incremental => "literal with incremental indexing",
        FieldEncoding::WithoutIndexing => "literal without indexing",
        FieldEncoding::NeverIndexed => "literal never indexed",
    };
    let coding = |part: &str, huffman: Option<bool>| match huffman {
        Some(true) => format!(", {part} Huffman"),
        Some(false) => format!(", {part} raw"),
        None => String::new(),
    };
    format!("{form}{}{}", coding("name", field.name_huffman), coding("value", field.value_huffman))
}

fn write_table(
    page: &mut String,
    title: &str,
    columns: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) {
    page.extend(["<h2>", &redact::escape_html(title), "</h2>\n<table>\n"]);
    if !columns.is_empty() {
        write_row(page, "<th>", columns.iter().copied());
    }
    for row in rows {
        write_row(page, "<td>", row.iter().map(String::as_str));
    }
    page.push_str("</table>\n");
}

fn write_row<'a>(page: &mut String, tag: &str, texts: impl Iterator<Item = &'a str>) {
    page.push_str("<tr>");
    for text in texts {
        page.extend([tag, &redact::escape_html(text)]);
    }
    page.push('\n');
}

const HEAD: &str = "<!doctype html>
<meta charset=utf-8>
<title>Fingerprints of this client</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em }
td, th { font-family: ui-monospace, monospace; font-size: 13px; overflow-wrap: anywhere; padding: .1em 1.5em .1em 0; \
text-align: left; vertical-align: top }
td:first-child { overflow-wrap: normal; white-space: nowrap }
</style>
<h1>Fingerprints of this client</h1>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_client_are_escaped() {
        let mut page = String::new();
        write_table(&mut page, "<x>", &["a"], [vec!["<script>alert('1' & \"2\")</script>".to_owned()]]);
        assert!(!page.contains("<script>") && !page.contains("<x>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39; &amp; &quot;2&quot;)"), "{page}");
    }
}
