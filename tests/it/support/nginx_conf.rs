//! The configuration of the tests' nginx: what is served where.
//!
//! | path | answer |
//! |---|---|
//! | `/page/10k`, `700k`, `40m`, `hello` | the page as it is |
//! | `/page/latin1`, `/page/meta`, `/page/bom` | charset by header, by meta, by byte order mark |
//! | `/gzip/…`, `/br/…` | the same pages compressed, if the client accepts that |
//! | `/redirect/301`, `302`, `303`, `307`, `308` | to `/echo` |
//! | `/redirect/loop`, `/redirect/ping` | to itself; back and forth |
//! | `/redirect/chain/N` (1 to 25) | N redirects, then `/echo` |
//! | `/redirect/out` | to another origin's `/echo` (the site [`Site::H1`]; from there, [`Site::H2`]) |
//! | `/redirect/bad`, `/redirect/scheme` | to an invalid URL; to `ftp:` |
//! | `/echo` | the request, one `name: value` per line |
//! | `/ip` | the client's address |
//! | `/body` | the form or text that was sent (up to 4 KiB, no line breaks) |
//! | `/auth` | Basic authentication |
//! | `/status/204`, `403`, `404`, `410`, `429`, `500`, `503` | that status; the last and 429 with `retry-after: 2` |
//! | `/cookies/set`, `/cookies/clear` | sets cookies of many kinds; expires one |
//!
//! [`Site::H1`]: super::nginx::Site::H1
//! [`Site::H2`]: super::nginx::Site::H2

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::certs::{Certs, Leaf};

/// nginx's brotli filter module, if it is installed.
pub(super) fn brotli_module() -> Option<PathBuf> {
    ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/libexec/nginx/modules"]
        .map(|folder| Path::new(folder).join("ngx_http_brotli_filter_module.so"))
        .into_iter()
        .find(|file| file.exists())
}

/// The whole configuration. A single process without a master: it works the same for root and other users, and leaves
/// no child when it is killed.
pub(super) fn write(root: &Path, certs: &Certs, brotli: Option<&Path>, ports: [u16; 8]) -> String {
    let root = root.display().to_string();
    let [clear, h2, h1, tls12, old, expired, self_signed, wrong_name] = ports;
    let load = brotli.map_or(String::new(), |module| format!("load_module {};", module.display()));
    let mut conf = format!(
        r#"{load}
daemon off;
master_process off;
pid {root}/nginx.pid;
error_log {root}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {root}/temp/body;
    proxy_temp_path {root}/temp/proxy;
    fastcgi_temp_path {root}/temp/fastcgi;
    uwsgi_temp_path {root}/temp/uwsgi;
    scgi_temp_path {root}/temp/scgi;
    log_format visit '$request_method\t$request_uri\t$status\t$server_protocol\t$ssl_protocol\t$connection\t$ssl_session_reused\t$http_user_agent';
    access_log {root}/access.log visit;
    default_type "text/html; charset=utf-8";
    keepalive_timeout 60s;
    ssl_session_tickets on;
"#
    );
    server(&mut conf, &format!("listen 127.0.0.1:{clear};"), &locations(&root, brotli.is_some(), clear, h1));
    for (port, flags, protocols, leaf) in [
        (h2, "ssl http2", "TLSv1.2 TLSv1.3", &certs.valid),
        (h1, "ssl", "TLSv1.2 TLSv1.3", &certs.valid),
        (tls12, "ssl http2", "TLSv1.2", &certs.valid),
        (old, "ssl", "TLSv1.2", &certs.valid),
        (expired, "ssl http2", "TLSv1.2 TLSv1.3", &certs.expired),
        (self_signed, "ssl http2", "TLSv1.2 TLSv1.3", &certs.self_signed),
        (wrong_name, "ssl http2", "TLSv1.2 TLSv1.3", &certs.wrong_name),
    ] {
        let Leaf { chain, key } = leaf;
        let head = format!(
            "listen 127.0.0.1:{port} {flags};\nssl_protocols {protocols};\nssl_certificate {};\nssl_certificate_key {};",
            chain.display(),
            key.display()
        );
        let out = if port == h1 { h2 } else { h1 };
        server(&mut conf, &head, &locations(&root, brotli.is_some(), clear, out));
    }
    conf.push_str("}\n");
    conf
}

fn server(conf: &mut String, head: &str, locations: &str) {
    write!(conf, "server {{\n{head}\n{locations}}}\n").expect("a String takes all");
}

/// The locations of every site. `out` is the port of another https site.
fn locations(root: &str, brotli: bool, clear: u16, out: u16) -> String {
    let mut text = format!(
        r#"
location /page/ {{ alias {root}/pages/; }}
location = /page/latin1 {{ alias {root}/pages/latin1; default_type "text/html; charset=iso-8859-1"; }}
location = /page/meta {{ alias {root}/pages/meta; default_type "text/html"; }}
location = /page/bom {{ alias {root}/pages/bom; default_type "text/html"; }}
location /few/ {{ alias {root}/pages/; keepalive_requests 4; }}
location /gzip/ {{ alias {root}/pages/; gzip on; gzip_min_length 0; gzip_types *; }}
location = /redirect/loop {{ return 302 /redirect/loop; }}
location = /redirect/ping {{ return 302 /redirect/pong; }}
location = /redirect/pong {{ return 302 /redirect/ping; }}
location = /redirect/out {{ return 302 https://127.0.0.1:{out}/echo; }}
location = /redirect/bad {{ return 302 "http://[nowhere/"; }}
location = /redirect/scheme {{ return 302 "ftp://127.0.0.1/"; }}
location = /redirect/chain/1 {{ return 302 /echo; }}
location = /echo {{
    default_type text/plain;
    return 200 "remote: $remote_addr\nmethod: $request_method\nuri: $request_uri\nprotocol: $server_protocol\nhost: $http_host\nuser-agent: $http_user_agent\naccept: $http_accept\naccept-encoding: $http_accept_encoding\naccept-language: $http_accept_language\nauthorization: $http_authorization\nproxy-authorization: $http_proxy_authorization\ncookie: $http_cookie\nreferer: $http_referer\norigin: $http_origin\ncontent-type: $content_type\ncontent-length: $content_length\nx-test: $http_x_test\n";
}}
location = /ip {{ default_type text/plain; return 200 "$remote_addr\n"; }}
location = /body {{
    client_body_buffer_size 4k;
    proxy_pass http://127.0.0.1:{clear}/mirror;
    proxy_method GET;
    proxy_set_header x-body $request_body;
    proxy_pass_request_body off;
    proxy_set_header content-length "";
}}
location = /mirror {{ access_log off; default_type text/plain; return 200 "$http_x_body"; }}
location = /auth {{
    auth_basic "the reading room";
    auth_basic_user_file {root}/htpasswd;
    alias {root}/pages/hello;
}}
location = /status/204 {{ return 204; }}
location = /status/429 {{ add_header retry-after 2 always; return 429 "<title>slow down</title>\n"; }}
location = /status/503 {{ add_header retry-after 2 always; return 503 "<title>back soon</title>\n"; }}
location = /cookies/set {{
    add_header set-cookie "session=s1; Path=/; HttpOnly";
    add_header set-cookie "lasting=l1; Path=/; Max-Age=3600";
    add_header set-cookie "domain=d1; Path=/; Domain=site.test";
    add_header set-cookie "suffix=never; Path=/; Domain=test";
    add_header set-cookie "foreign=never; Path=/; Domain=other.test";
    add_header set-cookie "secure=x1; Path=/; Secure";
    add_header set-cookie "narrow=n1; Path=/cookies";
    return 200 "<title>set</title>\n";
}}
location = /cookies/clear {{
    add_header set-cookie "lasting=; Path=/; Max-Age=0";
    return 200 "<title>cleared</title>\n";
}}
"#
    );
    if brotli {
        let br = format!(
            "location /br/ {{ alias {root}/pages/; brotli on; brotli_min_length 0; brotli_types *; }}\n"
        );
        text.push_str(&br);
    }
    for status in [301, 302, 303, 307, 308] {
        writeln!(text, "location = /redirect/{status} {{ return {status} /echo; }}")
            .expect("a String takes all");
    }
    for status in [403, 404, 410, 500] {
        let page = format!("<title>status {status}</title>\\n");
        writeln!(text, "location = /status/{status} {{ return {status} \"{page}\"; }}")
            .expect("a String takes all");
    }
    for step in 2..=25 {
        writeln!(text, "location = /redirect/chain/{step} {{ return 302 /redirect/chain/{}; }}", step - 1)
            .expect("a String takes all");
    }
    text
}
