//! Reads any bytes as a cookie file, writes the cookies, and reads them again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::{Cookie, CookieJar};

/// The program's reader and writer, without the rest of the program.
#[allow(dead_code)]
#[path = "../../src/cli/cookie_file.rs"]
mod cookie_file;

#[allow(dead_code)]
mod exit {
    pub(crate) enum Failure {
        Io(String, std::io::Error),
    }
}

mod terminal {
    pub(crate) fn print_message(_: &str) {}
}

fuzz_target!(|bytes: &[u8]| {
    let jar = CookieJar::default();
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    for (number, reason) in cookie_file::add_lines(bytes, &[&jar]) {
        assert!((1..=lines).contains(&number) && !reason.is_empty());
    }
    let (text, left_out) = cookie_file::format(&[&jar]);
    let again = CookieJar::default();
    let skipped = cookie_file::add_lines(text.as_bytes(), &[&again]);
    assert!(skipped.is_empty(), "what was written can be read: {skipped:?} {text}");
    let key = |cookie: &Cookie| {
        (cookie.domain.clone(), cookie.path.clone(), cookie.name.clone(), cookie.value.clone())
    };
    let sorted = |mut cookies: Vec<Cookie>| {
        cookies.sort_by_key(key);
        cookies
    };
    let mut kept = jar.list();
    kept.retain(|cookie| !left_out.contains(cookie));
    let mut kept = sorted(kept);
    for cookie in &mut kept {
        // The file has no field for them.
        (cookie.same_site, cookie.partitioned) = (None, false);
    }
    assert_eq!(sorted(again.list()), kept, "{text}");
});
