//! Tests of the memory file: stored rows, and files that are corrupt, newer or of another program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::super::circuits::{self, CircuitTable, CircuitUpdate};
use super::super::clearances::{self, ClearanceState, ClearanceTable, IdentityRow, SavedIdentity};
use super::super::page_sizes::{self, SizeTable, SizeUpdate};
use super::super::tiers::{self, StatKey, TierCache, TierRow, TierTable};
use super::super::{
    Circuit, Clearance, DecayingTally, MarkupSource, SavedIdentityKey, SiteSection, SizeSample, TierMode,
    memory_tables,
};
use super::error::StoreError;
use super::store::Store;
use super::table::{MAX_PENDING, Table, Tables};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;
use crate::identity::cookies::Cookie;

const NOW: i64 = 1_000_000_000;

fn tier_row(site: &str, tally: DecayingTally) -> TierRow {
    let key = StatKey { path_prefix: "/".to_owned(), mode: TierMode::Plain, profile: "plain".to_owned() };
    TierRow { site: site.to_owned(), key, tally }
}

fn identity_key(session: &str) -> SavedIdentityKey {
    let (route, profile) = ("direct".to_owned(), "chrome".to_owned());
    SavedIdentityKey { session: session.to_owned(), route, profile, location: String::new() }
}

/// Returns tables with these pending changes.
fn changes(tallies: &[TierRow], identities: &[IdentityRow]) -> Tables {
    let mut tables = memory_tables(None);
    for row in tallies {
        tables.get_mut::<TierTable>().add(row.clone());
    }
    for row in identities {
        tables.get_mut::<ClearanceTable>().save(row.clone());
    }
    tables
}

fn identity(store: &Store, session: &str, host: &str) -> Option<SavedIdentity> {
    clearances::load(store.connection(), &identity_key(session), host).unwrap()
}

/// Returns the tallies of `site`, or of all sites.
fn tallies(store: &Store, site: Option<&str>) -> Vec<TierRow> {
    tiers::load(store.connection(), site).unwrap()
}

fn size_update(sample: SizeSample) -> SizeUpdate {
    SizeUpdate {
        section: SiteSection { site: "a.example".to_owned(), path_prefix: "/".to_owned() },
        form: MarkupSource::Html,
        sample,
        at: NOW,
    }
}

fn sizes(update: SizeUpdate) -> Tables {
    let mut tables = memory_tables(None);
    tables.get_mut::<SizeTable>().add(update);
    tables
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
    let (store, aside) = Store::open(path, &memory_tables(None)).unwrap();
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
    let first = tier_row("a.example", DecayingTally::from_page(NOW));
    one.write(&mut changes(&[first], &[identity_row("a.example", "new", 9)]), NOW).unwrap();
    let second = tier_row("a.example", DecayingTally::from_refusal(NOW + 1));
    let mut tables = changes(&[], &[identity_row("a.example", "old", 8)]);
    let cache: Arc<TierCache> = Arc::default();
    cache.apply(vec![second.clone()], true);
    *tables.get_mut::<TierTable>() = TierTable::new(Some(Arc::clone(&cache)));
    tables.get_mut::<TierTable>().add(second);
    two.write(&mut tables, NOW).unwrap();
    assert!(tables.iter().all(Table::is_idle));
    let sums = tallies(&one, Some("a.example"));
    assert_eq!((sums[0].tally.pages, sums[0].tally.refusals), (1, 1));
    assert_eq!(cache.rows("a.example"), sums, "the cache takes over what both have written");
    assert!(tallies(&one, Some("b.example")).is_empty());
    let saved = identity(&one, "own", "a.example").unwrap();
    assert_eq!(saved.cookies[0].value, "new");
    assert!(identity(&one, "session:own", "a.example").is_none(), "another session");
}

#[test]
fn folder_and_file_are_private_to_the_owner_and_loose_permissions_are_corrected() {
    let folder = folder();
    let path = folder.path().join("deep").join("rungs").join("m.sqlite");
    let mut store = open(&path);
    store.write(&mut changes(&[tier_row("a.example", DecayingTally::from_page(NOW))], &[]), NOW).unwrap();
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
        let (store, aside) = Store::open(&path, &memory_tables(None)).unwrap();
        let aside = aside.expect("the file was corrupt");
        assert_eq!(std::fs::read(&aside).unwrap(), damage);
        assert!(aside.to_string_lossy().starts_with(&format!("{}.corrupt-", path.display())));
        assert!(tallies(&store, None).is_empty());
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
        let store_error = Store::open(path, &memory_tables(None)).err().unwrap();
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
    store.write(&mut changes(&[], &[identity_row("a.example", "x", NOW)]), NOW).unwrap();
    many.chunks(MAX_PENDING).for_each(|rows| store.write(&mut changes(rows, &[]), NOW).unwrap());
    assert_eq!(tallies(&store, None).len(), 45_000, "a tenth is deleted at once");
    let later = NOW + 31 * 24 * 3600;
    let late = tier_row("late.example", DecayingTally::from_page(later));
    store.write(&mut changes(&[late], &[]), later).unwrap();
    assert_eq!(tallies(&store, None).len(), 1);
    assert!(identity(&store, "own", "a.example").is_none(), "its clearance has expired");
}

#[test]
fn cleared_rows_are_in_none_of_the_files() {
    let folder = folder();
    let mut store = open(&folder.path().join("m.sqlite"));
    store
        .write(
            &mut changes(
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
    assert_eq!(store.clear(&memory_tables(None), &|name| name == "b.example").unwrap(), 0);
    assert_eq!(store.clear(&memory_tables(None), &|name| name == "a.example").unwrap(), 2);
    store.truncate_journal().unwrap();
    assert!(!is_on_disk());
}

#[test]
fn a_row_that_this_version_does_not_understand_is_ignored() {
    let folder = folder();
    let path = folder.path().join("m.sqlite");
    let mut store = open(&path);
    store
        .write(
            &mut changes(
                &[tier_row("a.example", DecayingTally::from_page(NOW))],
                &[identity_row("a.example", "x", NOW)],
            ),
            NOW,
        )
        .unwrap();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("UPDATE evidence SET rung = 'jet'; UPDATE identity SET saved = '{}'").unwrap();
    assert!(tallies(&store, None).is_empty());
    assert!(identity(&store, "own", "a.example").is_none());
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
    let insert = "INSERT INTO identity VALUES ('a.example', 'own', 'direct', 'chrome', ?1, ?2, ?3)";
    old.execute(insert, params![text, NOW, NOW + 1000]).unwrap();
    drop(old);
    for _ in 0..2 {
        let store = open(&path);
        assert_eq!(tallies(&store, None), [tier_row("a.example", DecayingTally::from_page(NOW))]);
        assert_eq!(identity(&store, "own", "a.example").unwrap().cookies[0].value, "x");
        assert!(page_sizes::load(store.connection(), None).unwrap().is_empty());
        let german = SavedIdentityKey { location: "de-DE Europe/Berlin".to_owned(), ..identity_key("own") };
        assert!(
            clearances::load(store.connection(), &german, "a.example").unwrap().is_none(),
            "it was cleared without a language"
        );
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
            store.write(&mut sizes(page.clone()), NOW).unwrap();
        }
    }
    let model = page_sizes::load(one.connection(), Some("a.example")).unwrap()[0].model;
    assert_eq!((model.pages, model.bytes(), model.urls), (12, Some(50_000), 0b11_1111));
    two.write(&mut sizes(size_update(SizeSample::TooSmall)), NOW).unwrap();
    let mut other = open(&folder.path().join("other.sqlite"));
    let mut exported = memory_tables(None);
    let lines = SizeTable::default().export(one.connection()).unwrap();
    for line in &lines {
        exported.get_mut::<SizeTable>().read_line(line.as_bytes(), NOW).unwrap();
    }
    assert_eq!(other.import(&mut exported, NOW).unwrap(), 1);
    assert_eq!(other.import(&mut exported, NOW).unwrap(), 0);
    assert_eq!(page_sizes::load(other.connection(), None).unwrap()[0].model.doubts, 1);
    Connection::open(&path).unwrap().execute_batch("UPDATE usual SET mean = 1e9").unwrap();
    assert!(page_sizes::load(one.connection(), None).unwrap().is_empty(), "the size is impossible");
    assert_eq!(one.clear(&memory_tables(None), &|name| name == "a.example").unwrap(), 1);
    assert_eq!(other.import(&mut memory_tables(None), NOW).unwrap(), 0);
}

#[test]
fn an_open_circuit_keeps_its_start_until_it_is_closed_or_stale() {
    let folder = folder();
    let mut store = open(&folder.path().join("m.sqlite"));
    let mut apply = |update: CircuitUpdate| {
        let mut tables = memory_tables(None);
        tables.get_mut::<CircuitTable>().add(update);
        store.write(&mut tables, NOW).unwrap();
        circuits::load_open(store.connection(), Some("a.example:8443"), NOW).unwrap()
    };
    apply(CircuitUpdate::Open(circuit(Tier::Plain, NOW, NOW + 10)));
    let open = apply(CircuitUpdate::Open(circuit(Tier::Plain, NOW + 10, NOW + 30)));
    assert_eq!(open, [circuit(Tier::Plain, NOW, NOW + 30)]);
    let open = apply(CircuitUpdate::Open(circuit(Tier::Plain, NOW + 5, NOW + 20)));
    assert_eq!(open[0].until, NOW + 30, "an older update changes nothing");
    assert_eq!(apply(CircuitUpdate::Open(circuit(Tier::Browser, NOW, NOW + 10))).len(), 2);
    let closed = CircuitUpdate::Closed { host: "a.example:8443".to_owned(), tier: Tier::Plain };
    assert_eq!(apply(closed), [circuit(Tier::Browser, NOW, NOW + 10)]);
    assert!(
        circuits::load_open(store.connection(), None, NOW + 3700).unwrap().is_empty(),
        "it was not probed for an hour"
    );
    assert_eq!(store.clear(&memory_tables(None), &|name| name == "a.example:8443").unwrap(), 1);
}

/// The tables as the first version created them.
const SCHEMA_V1: &str = "
    CREATE TABLE evidence (
        site TEXT NOT NULL, grp TEXT NOT NULL, rung TEXT NOT NULL, profile TEXT NOT NULL,
        pages INTEGER NOT NULL, refusals INTEGER NOT NULL, good REAL NOT NULL, bad REAL NOT NULL,
        streak INTEGER NOT NULL, refused INTEGER NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (site, grp, rung, profile)
    ) WITHOUT ROWID;
    CREATE INDEX evidence_seen ON evidence (seen);
    CREATE TABLE identity (
        host TEXT NOT NULL, session TEXT NOT NULL, route TEXT NOT NULL, profile TEXT NOT NULL,
        saved TEXT NOT NULL, learned INTEGER NOT NULL, good_until INTEGER NOT NULL,
        PRIMARY KEY (host, session, route, profile)
    ) WITHOUT ROWID;
    CREATE INDEX identity_learned ON identity (learned);
";
