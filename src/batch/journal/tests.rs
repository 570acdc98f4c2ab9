use super::*;
use crate::batch::record::RecordStatus;
use crate::exchange::tier::Tier;

fn header() -> JournalHeader {
    JournalHeader { input: "urls.txt".to_owned(), output: "out.jsonl".to_owned(), format: "jsonl".to_owned() }
}

fn done(key: u128, is_retryable: bool) -> CommitEntry {
    let status = if is_retryable { RecordStatus::Failed } else { RecordStatus::Succeeded };
    new_entry(TaskKey(key), TaskOutcome { status, tier: Some(Tier::Impersonate), is_retryable }, 10)
}

fn keys(journal: &mut Journal) -> Vec<u128> {
    let mut keys = Vec::new();
    journal
        .for_each_entry(|entry| {
            keys.push(entry.key.0);
            Ok(())
        })
        .unwrap();
    keys
}

#[test]
fn committed_entries_are_recovered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let (mut journal, found) = Journal::open(&path, &header()).unwrap();
    assert_eq!((found.torn_bytes, found.state.position), (0, 0));
    journal.commit(25, &[done(1, false), done(2, true)]).unwrap();
    journal.commit(35, &[done(3, false)]).unwrap();
    journal.mark_synced(35).unwrap();
    drop(journal);
    let (mut journal, found) = Journal::open(&path, &header()).unwrap();
    assert_eq!((found.state.position, found.torn_bytes, found.rebooted), (35, 0, false));
    assert_eq!((found.state.counters.attempted, found.state.counters.retryable), (3, 1));
    assert_eq!(found.state.retryable.iter().collect::<Vec<_>>(), [(15, 10)]);
    assert_eq!(keys(&mut journal), [1, 2, 3]);
}

#[test]
fn a_write_truncated_at_any_byte_keeps_earlier_entries_and_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let (mut journal, _) = Journal::open(&path, &header()).unwrap();
    journal.commit(10, &[done(1, false)]).unwrap();
    let whole = journal.len;
    journal.commit(20, &[done(2, false)]).unwrap();
    let end = journal.len;
    drop(journal);
    let bytes = std::fs::read(&path).unwrap();
    for cut in whole..end {
        std::fs::write(&path, &bytes[..usize::try_from(cut).unwrap()]).unwrap();
        let (mut journal, found) = Journal::open(&path, &header()).unwrap();
        assert_eq!((found.torn_bytes, found.state.position), (cut - whole, 10), "cut at {cut}");
        assert_eq!(keys(&mut journal), [1], "cut at {cut}");
        journal.commit(20, &[done(3, false)]).unwrap();
        drop(journal);
        let (mut journal, found) = Journal::open(&path, &header()).unwrap();
        assert_eq!((found.torn_bytes, keys(&mut journal)), (0, vec![1, 3]), "cut at {cut}");
    }
    for cut in 0..MAGIC.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (_, found) = Journal::open(&path, &header()).unwrap();
        assert_eq!(found.state.position, 0, "cut at {cut}");
    }
}

#[test]
fn corruption_in_the_middle_is_an_error_and_nothing_is_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let (mut journal, _) = Journal::open(&path, &header()).unwrap();
    journal.commit(10, &[done(1, false)]).unwrap();
    let at = usize::try_from(journal.len).unwrap() - 1;
    journal.commit(20, &[done(2, false)]).unwrap();
    drop(journal);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = Journal::open(&path, &header()).err().unwrap();
    assert!(error.to_string().contains("is corrupt at byte"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_checkpoint_in_use_or_for_another_batch_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let (journal, _) = Journal::open(&path, &header()).unwrap();
    let error = Journal::open(&path, &header()).err().unwrap();
    assert!(error.to_string().contains("in use by another run"), "{error}");
    drop(journal);
    let other = JournalHeader { input: "other.txt".to_owned(), format: "csv".to_owned(), ..header() };
    let error = Journal::open(&path, &other).err().unwrap().to_string();
    assert!(
        error.ends_with("is for another batch: input urls.txt, not other.txt; format jsonl, not csv"),
        "{error}"
    );
    std::fs::write(&path, "a list of mine\n").unwrap();
    let error = Journal::open(&path, &header()).err().unwrap();
    assert!(error.to_string().contains("is not a checkpoint"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a list of mine\n", "the file is unchanged");
}

#[test]
fn after_a_reboot_only_synced_entries_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let (mut journal, _) = Journal::open(&path, &header()).unwrap();
    journal.append(&JournalRecord::Session { boot: "another boot".to_owned() }).unwrap();
    journal.commit(10, &[done(1, false)]).unwrap();
    journal.mark_synced(10).unwrap();
    journal.commit(20, &[done(2, false)]).unwrap();
    drop(journal);
    let (mut journal, found) = Journal::open(&path, &header()).unwrap();
    assert_eq!((found.rebooted, found.state.position), (true, 10));
    assert_eq!(keys(&mut journal), [1]);
}

#[test]
fn retryable_failures_are_forgotten_when_they_are_retried() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let (mut journal, _) = Journal::open(&path, &header()).unwrap();
    journal.commit(20, &[done(1, false), done(2, true)]).unwrap();
    journal.begin_replace(10).unwrap();
    drop(journal);
    let (mut journal, found) = Journal::open(&path, &header()).unwrap();
    assert_eq!(found.state.replacing, Some(10));
    journal.finish_replace(10).unwrap();
    journal.commit(20, &[done(3, true)]).unwrap();
    drop(journal);
    let (mut journal, found) = Journal::open(&path, &header()).unwrap();
    assert_eq!((found.state.replacing, found.state.position), (None, 20));
    assert_eq!(found.state.counters.attempted, 2);
    assert_eq!(keys(&mut journal), [1, 3], "only the later failure counts");
}

#[test]
fn discoveries_are_stored_together_with_their_page_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let (mut journal, _) = Journal::open(&path, &header()).unwrap();
    journal.commit(10, &[done(1, false)]).unwrap();
    let whole = usize::try_from(journal.len).unwrap();
    let tasks = [2, 3].map(|n| Task { depth: n, ..Task::from(format!("http://a.test/{n}")) });
    journal.commit_with_discoveries(20, &[done(2, false)], tasks.iter(), &[TaskKey(7)]).unwrap();
    drop(journal);
    let bytes = std::fs::read(&path).unwrap();
    for cut in whole..=bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (mut journal, _) = Journal::open(&path, &header()).unwrap();
        let discoveries: Vec<Discoveries> = journal.discoveries().unwrap().map(Result::unwrap).collect();
        let found: Vec<&Task> = discoveries.iter().flat_map(|frame| &frame.tasks).collect();
        if keys(&mut journal).contains(&2) {
            assert_eq!(found, [&tasks[0], &tasks[1]], "cut at {cut}");
            assert!(discoveries.iter().any(|frame| frame.aliases == [TaskKey(7)]), "cut at {cut}");
        } else {
            // Discoveries without their page are discovered again, with the page.
            assert!(cut < bytes.len() && found.len() <= 2, "cut at {cut}");
        }
    }
}

#[test]
fn many_discoveries_are_split_into_frames() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(&folder.path().join("run.ckpt"), &header()).unwrap();
    let tasks: Vec<Task> =
        (0..5000).map(|n| Task::from(format!("http://a.test/{n}/{}", "x".repeat(2000)))).collect();
    journal.commit_with_discoveries(10, &[done(1, false)], tasks.iter(), &[]).unwrap();
    let discoveries: Vec<Discoveries> = journal.discoveries().unwrap().map(Result::unwrap).collect();
    let tasks: usize = discoveries.iter().map(|frame| frame.tasks.len()).sum();
    assert!(discoveries.len() > 2 && tasks == 5000);
}
