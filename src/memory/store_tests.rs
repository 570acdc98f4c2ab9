//! The memory file: what it keeps, and what it does when it is damaged, newer, or another's.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::evidence::{Rung, Slot};
use super::fault::Fault;
use super::store::{Held, Line, Store};
use super::{Clearance, Note, Saved, Tally, Who};
use crate::cookies::Cookie;
use crate::kind::ErrorKind;

const NOW: i64 = 1_000_000_000;

fn line(site: &str, tally: Tally) -> Line {
    let slot = Slot { group: "/".to_owned(), rung: Rung::Plain, profile: "plain".to_owned() };
    Line { site: site.to_owned(), slot, tally }
}

fn who(session: &str) -> Who {
    Who { session: session.to_owned(), route: "direct".to_owned(), profile: "chrome".to_owned() }
}

fn held(host: &str, value: &str, learned: i64) -> Held {
    let note = Note::cleared(Clearance { cookies: vec!["pass".to_owned()], until: Some(NOW + 1000) }, NOW);
    let saved = Saved { note, cookies: vec![Cookie::session("pass", value, host)], hints: Vec::new() };
    Held { host: host.to_owned(), who: who("own"), saved, learned }
}

fn open(path: &Path) -> Store {
    let (store, aside) = Store::open(path).unwrap();
    assert_eq!(aside, None);
    store
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn counts_of_two_writers_add_up_and_an_older_identity_takes_no_newer_ones_place() {
    let folder = folder();
    let path = folder.path().join("m.sqlite");
    let (mut one, mut two) = (open(&path), open(&path));
    one.add(&[line("a.example", Tally::page(NOW))], &[held("a.example", "new", 9)], NOW).unwrap();
    let sums =
        two.add(&[line("a.example", Tally::refusal(NOW + 1))], &[held("a.example", "old", 8)], NOW).unwrap();
    assert_eq!((sums[0].tally.pages, sums[0].tally.refusals), (1, 1));
    assert_eq!(one.evidence(Some("a.example")).unwrap(), sums);
    assert!(one.evidence(Some("b.example")).unwrap().is_empty());
    let saved = one.held(&who("own"), "a.example").unwrap().unwrap();
    assert_eq!(saved.cookies[0].value, "new");
    assert!(one.held(&who("session:own"), "a.example").unwrap().is_none(), "another session");
}

#[test]
fn folder_and_file_are_their_owners_alone_and_an_open_file_is_closed_to_others() {
    let folder = folder();
    let path = folder.path().join("deep").join("rungs").join("m.sqlite");
    let mut store = open(&path);
    store.add(&[line("a.example", Tally::page(NOW))], &[], NOW).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    drop(store);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&path));
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_damaged_file_is_moved_aside_whole_and_a_new_one_begun() {
    let folder = folder();
    let path = folder.path().join("m.sqlite");
    for damage in [b"not a database at all, but long enough to be read as one".repeat(40), vec![0xff; 100]] {
        std::fs::write(&path, &damage).unwrap();
        let (store, aside) = Store::open(&path).unwrap();
        let aside = aside.expect("it was damaged");
        assert_eq!(std::fs::read(&aside).unwrap(), damage);
        assert!(aside.to_string_lossy().starts_with(&format!("{}.corrupt-", path.display())));
        assert!(store.evidence(None).unwrap().is_empty());
        drop(store);
        drop(open(&path));
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
    }
}

#[test]
fn a_newer_file_and_another_programs_are_left_as_they_are() {
    let folder = folder();
    let newer = folder.path().join("newer.sqlite");
    drop(open(&newer));
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let other = folder.path().join("other.sqlite");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    for (path, words, is_expected) in [
        (
            &newer,
            "newer rungs (schema 7)",
            (|fault: &Fault| matches!(fault, Fault::Newer(7))) as fn(&Fault) -> bool,
        ),
        (&other, "another program's", |fault| matches!(fault, Fault::Foreign)),
    ] {
        let before = std::fs::read(path).unwrap();
        let fault = Store::open(path).err().unwrap();
        assert!(is_expected(&fault) && !fault.may_pass());
        let error = fault.at(path);
        assert!(error.kind() == ErrorKind::Config && error.chain().contains(words), "{error:?}");
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
}

#[test]
fn what_is_old_leaves_and_so_does_what_is_too_much() {
    let folder = folder();
    let mut store = open(&folder.path().join("m.sqlite"));
    let many: Vec<Line> = (0..50_010).map(|n| line(&format!("s{n}.example"), Tally::page(NOW))).collect();
    store.add(&many, &[held("a.example", "x", NOW)], NOW).unwrap();
    assert_eq!(store.evidence(None).unwrap().len(), 45_000, "a tenth leaves at once");
    let later = NOW + 31 * 24 * 3600;
    store.add(&[line("late.example", Tally::page(later))], &[], later).unwrap();
    assert_eq!(store.evidence(None).unwrap().len(), 1);
    assert!(store.all_held().unwrap().is_empty(), "its clearance is over");
}

#[test]
fn what_was_cleared_is_in_none_of_the_files() {
    let folder = folder();
    let mut store = open(&folder.path().join("m.sqlite"));
    store
        .add(&[line("a.example", Tally::page(NOW))], &[held("a.example", "hunter2hunter2", NOW)], NOW)
        .unwrap();
    let holds = || {
        std::fs::read_dir(folder.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(14).any(|window| window == b"hunter2hunter2")
        })
    };
    assert!(holds());
    assert_eq!(store.clear(|name| name == "b.example").unwrap(), 0);
    assert_eq!(store.clear(|name| name == "a.example").unwrap(), 2);
    store.sweep().unwrap();
    assert!(!holds());
}

#[test]
fn a_row_that_this_version_does_not_understand_says_nothing() {
    let folder = folder();
    let path = folder.path().join("m.sqlite");
    let mut store = open(&path);
    store.add(&[line("a.example", Tally::page(NOW))], &[held("a.example", "x", NOW)], NOW).unwrap();
    let by_hand = Connection::open(&path).unwrap();
    by_hand.execute_batch("UPDATE evidence SET rung = 'jet'; UPDATE identity SET saved = '{}'").unwrap();
    assert!(store.evidence(None).unwrap().is_empty());
    assert!(store.held(&who("own"), "a.example").unwrap().is_none());
}
