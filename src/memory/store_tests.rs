//! Tests of the memory file: stored rows, and files that are corrupt, newer or of another program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::error::StoreError;
use super::file::SCHEMA_V1;
use super::store::{IdentityRow, PendingWrites, Snapshot, Store, TierRow};
use super::tables::{CircuitUpdate, SizeUpdate};
use super::tiers::{StatKey, TierMode};
use super::{
    Circuit, Clearance, ClearanceState, DecayingTally, MarkupSource, SavedIdentity, SavedIdentityKey,
    SizeSample,
};
use crate::cookies::Cookie;
use crate::error_kind::ErrorKind;
use crate::tier::Tier;

const NOW: i64 = 1_000_000_000;

fn tier_row(site: &str, tally: DecayingTally) -> TierRow {
    let key = StatKey { path_prefix: "/".to_owned(), mode: TierMode::Plain, profile: "plain".to_owned() };
    TierRow { site: site.to_owned(), key, tally }
}

fn identity_key(session: &str) -> SavedIdentityKey {
    let (route, profile) = ("direct".to_owned(), "chrome".to_owned());
    SavedIdentityKey { session: session.to_owned(), route, profile, location: String::new() }
}

fn pending_writes(tallies: &[TierRow], identities: &[IdentityRow]) -> PendingWrites {
    PendingWrites { tallies: tallies.to_vec(), identities: identities.to_vec(), ..PendingWrites::default() }
}

fn size_update(sample: SizeSample) -> SizeUpdate {
    SizeUpdate {
        site: "a.example".to_owned(),
        path_prefix: "/".to_owned(),
        form: MarkupSource::Html,
        sample,
        at: NOW,
    }
}

fn circuit(tier: Tier, since: i64, until: i64) -> Circuit {
    let (host, kind) = ("a.example:8443".to_owned(), ErrorKind::Connect);
    Circuit { host, tier, kind, faults: 5, since, until, lasts: 10 }
}

fn identity_row(host: &str, value: &str, learned: i64) -> IdentityRow {
    let state =
        ClearanceState::new(Clearance { cookies: vec!["pass".to_owned()], until: Some(NOW + 1000) }, NOW);
    let identity =
        SavedIdentity { state, cookies: vec![Cookie::session("pass", value, host)], hints: Vec::new() };
    IdentityRow { host: host.to_owned(), key: identity_key("own"), identity, learned }
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
fn counts_of_two_writers_add_up_and_an_older_identity_does_not_replace_a_newer_one() {
    let folder = folder();
    let path = folder.path().join("m.sqlite");
    let (mut one, mut two) = (open(&path), open(&path));
    one.add(
        &pending_writes(
            &[tier_row("a.example", DecayingTally::from_page(NOW))],
            &[identity_row("a.example", "new", 9)],
        ),
        NOW,
    )
    .unwrap();
    let sums = two
        .add(
            &pending_writes(
                &[tier_row("a.example", DecayingTally::from_refusal(NOW + 1))],
                &[identity_row("a.example", "old", 8)],
            ),
            NOW,
        )
        .unwrap();
    assert_eq!((sums[0].tally.pages, sums[0].tally.refusals), (1, 1));
    assert_eq!(one.tallies(Some("a.example")).unwrap(), sums);
    assert!(one.tallies(Some("b.example")).unwrap().is_empty());
    let saved = one.identity(&identity_key("own"), "a.example").unwrap().unwrap();
    assert_eq!(saved.cookies[0].value, "new");
    assert!(one.identity(&identity_key("session:own"), "a.example").unwrap().is_none(), "another session");
}

#[test]
fn folder_and_file_are_private_to_the_owner_and_loose_permissions_are_corrected() {
    let folder = folder();
    let path = folder.path().join("deep").join("rungs").join("m.sqlite");
    let mut store = open(&path);
    store.add(&pending_writes(&[tier_row("a.example", DecayingTally::from_page(NOW))], &[]), NOW).unwrap();
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
fn a_corrupt_file_is_moved_aside_unchanged_and_a_new_one_is_created() {
    let folder = folder();
    let path = folder.path().join("m.sqlite");
    for damage in [b"not a database at all, but long enough to be read as one".repeat(40), vec![0xff; 100]] {
        std::fs::write(&path, &damage).unwrap();
        let (store, aside) = Store::open(&path).unwrap();
        let aside = aside.expect("the file was corrupt");
        assert_eq!(std::fs::read(&aside).unwrap(), damage);
        assert!(aside.to_string_lossy().starts_with(&format!("{}.corrupt-", path.display())));
        assert!(store.tallies(None).unwrap().is_empty());
        drop(store);
        drop(open(&path));
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}

#[test]
fn a_newer_file_and_another_programs_file_are_not_changed() {
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
            (|store_error: &StoreError| matches!(store_error, StoreError::Newer(7)))
                as fn(&StoreError) -> bool,
        ),
        (&other, "another program's", |store_error| matches!(store_error, StoreError::Foreign)),
    ] {
        let before = std::fs::read(path).unwrap();
        let store_error = Store::open(path).err().unwrap();
        assert!(is_expected(&store_error) && !store_error.is_transient());
        let error = store_error.into_error(path);
        assert!(error.kind() == ErrorKind::Config && error.chain().contains(words), "{error:?}");
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
}

#[test]
fn old_rows_and_rows_above_the_limit_are_deleted() {
    let folder = folder();
    let mut store = open(&folder.path().join("m.sqlite"));
    let many: Vec<TierRow> =
        (0..50_010).map(|n| tier_row(&format!("s{n}.example"), DecayingTally::from_page(NOW))).collect();
    store.add(&pending_writes(&many, &[identity_row("a.example", "x", NOW)]), NOW).unwrap();
    assert_eq!(store.tallies(None).unwrap().len(), 45_000, "a tenth is deleted at once");
    let later = NOW + 31 * 24 * 3600;
    store
        .add(&pending_writes(&[tier_row("late.example", DecayingTally::from_page(later))], &[]), later)
        .unwrap();
    assert_eq!(store.tallies(None).unwrap().len(), 1);
    assert!(store.identities().unwrap().is_empty(), "its clearance has expired");
}

#[test]
fn cleared_rows_are_in_none_of_the_files() {
    let folder = folder();
    let mut store = open(&folder.path().join("m.sqlite"));
    store
        .add(
            &pending_writes(
                &[tier_row("a.example", DecayingTally::from_page(NOW))],
                &[identity_row("a.example", "hunter2hunter2", NOW)],
            ),
            NOW,
        )
        .unwrap();
    let is_on_disk = || {
        std::fs::read_dir(folder.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(14).any(|window| window == b"hunter2hunter2")
        })
    };
    assert!(is_on_disk());
    assert_eq!(store.clear(|name| name == "b.example").unwrap(), 0);
    assert_eq!(store.clear(|name| name == "a.example").unwrap(), 2);
    store.truncate_journal().unwrap();
    assert!(!is_on_disk());
}

#[test]
fn a_row_that_this_version_does_not_understand_is_ignored() {
    let folder = folder();
    let path = folder.path().join("m.sqlite");
    let mut store = open(&path);
    store
        .add(
            &pending_writes(
                &[tier_row("a.example", DecayingTally::from_page(NOW))],
                &[identity_row("a.example", "x", NOW)],
            ),
            NOW,
        )
        .unwrap();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("UPDATE evidence SET rung = 'jet'; UPDATE identity SET saved = '{}'").unwrap();
    assert!(store.tallies(None).unwrap().is_empty());
    assert!(store.identity(&identity_key("own"), "a.example").unwrap().is_none());
}

#[test]
fn a_file_of_the_first_version_keeps_its_rows() {
    let folder = folder();
    let path = folder.path().join("m.sqlite");
    let text = serde_json::to_string(&identity_row("a.example", "x", NOW).identity).unwrap();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&format!("{SCHEMA_V1} PRAGMA application_id = 1919838067; PRAGMA user_version = 1;"))
        .unwrap();
    old.execute(
        "INSERT INTO evidence VALUES ('a.example', '/', 'plain', 'plain', 1, 0, 1.0, 0.0, 0, 0, ?1)",
        [NOW],
    )
    .unwrap();
    let identity = "INSERT INTO identity VALUES ('a.example', 'own', 'direct', 'chrome', ?1, ?2, ?3)";
    old.execute(identity, params![text, NOW, NOW + 1000]).unwrap();
    drop(old);
    for _ in 0..2 {
        let store = open(&path);
        assert_eq!(store.tallies(None).unwrap(), [tier_row("a.example", DecayingTally::from_page(NOW))]);
        assert_eq!(store.identity(&identity_key("own"), "a.example").unwrap().unwrap().cookies[0].value, "x");
        assert!(store.page_sizes(None).unwrap().is_empty());
        let german = SavedIdentityKey { location: "de-DE Europe/Berlin".to_owned(), ..identity_key("own") };
        assert!(store.identity(&german, "a.example").unwrap().is_none(), "it was cleared without a language");
    }
}

#[test]
fn sizes_of_two_writers_are_learned_in_turn_and_exported_completely() {
    let folder = folder();
    let path = folder.path().join("m.sqlite");
    let (mut one, mut two) = (open(&path), open(&path));
    for at in 0..6 {
        let page = size_update(SizeSample::Page { bytes: 50_000, url_bit: 1 << at });
        for store in [&mut one, &mut two] {
            store.add(&PendingWrites { sizes: vec![page.clone()], ..PendingWrites::default() }, NOW).unwrap();
        }
    }
    let model = one.page_sizes(Some("a.example")).unwrap()[0].model;
    assert_eq!((model.pages, model.bytes(), model.urls), (12, Some(50_000), 0b11_1111));
    two.add(
        &PendingWrites { sizes: vec![size_update(SizeSample::TooSmall)], ..PendingWrites::default() },
        NOW,
    )
    .unwrap();
    let mut other = open(&folder.path().join("other.sqlite"));
    let snapshot = one.snapshot().unwrap();
    assert_eq!((other.import(&snapshot, NOW).unwrap(), other.import(&snapshot, NOW).unwrap()), (1, 0));
    assert_eq!(other.page_sizes(None).unwrap()[0].model.doubts, 1);
    Connection::open(&path).unwrap().execute_batch("UPDATE usual SET mean = 1e9").unwrap();
    assert!(one.page_sizes(None).unwrap().is_empty(), "the size is impossible");
    assert_eq!(one.clear(|name| name == "a.example").unwrap(), 1);
    assert_eq!(other.import(&Snapshot::default(), NOW).unwrap(), 0);
}

#[test]
fn an_open_circuit_keeps_its_start_until_it_is_closed_or_stale() {
    let folder = folder();
    let mut store = open(&folder.path().join("m.sqlite"));
    let mut apply = |update: CircuitUpdate| {
        store.add(&PendingWrites { circuits: vec![update], ..PendingWrites::default() }, NOW).unwrap();
        store.circuits(Some("a.example:8443"), NOW).unwrap()
    };
    apply(CircuitUpdate::Open(circuit(Tier::Plain, NOW, NOW + 10)));
    let open = apply(CircuitUpdate::Open(circuit(Tier::Plain, NOW + 10, NOW + 30)));
    assert_eq!(open, [circuit(Tier::Plain, NOW, NOW + 30)]);
    let open = apply(CircuitUpdate::Open(circuit(Tier::Plain, NOW + 5, NOW + 20)));
    assert_eq!(open[0].until, NOW + 30, "an older update changes nothing");
    assert_eq!(apply(CircuitUpdate::Open(circuit(Tier::Browser, NOW, NOW + 10))).len(), 2);
    let closed = CircuitUpdate::Closed { host: "a.example:8443".to_owned(), tier: Tier::Plain };
    assert_eq!(apply(closed), [circuit(Tier::Browser, NOW, NOW + 10)]);
    assert!(store.circuits(None, NOW + 3700).unwrap().is_empty(), "it was not probed for an hour");
    assert_eq!(store.clear(|name| name == "a.example:8443").unwrap(), 1);
}
