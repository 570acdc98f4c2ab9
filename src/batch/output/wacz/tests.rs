use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::*;
use crate::batch::journal::Ranges;
use crate::batch::output::warc::WarcEncoder;
use crate::batch::output::{Output, RecordEncoder as _, RecordFormat};
use crate::batch::record::Record;
use crate::exchange::error::Error;
use crate::exchange::error_kind::ErrorKind;

fn encode(n: usize) -> EncodedRecord {
    let error = Error::new(ErrorKind::Connect, "refused");
    WarcEncoder { gzip: true }.encode(&Record::new(&format!("https://a.test/{n}"), Err(error))).unwrap()
}

fn read_member(output: &Path, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    open_archive(output).unwrap().by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn count_records(output: &Path) -> usize {
    let packed = read_member(output, DATA_PATH);
    let (mut rest, mut count) = (&packed[..], 0);
    while !rest.is_empty() {
        let mut member = flate2::bufread::GzDecoder::new(rest);
        member.read_to_end(&mut Vec::new()).unwrap();
        rest = member.into_inner();
        count += 1;
    }
    count
}

#[test]
fn a_later_run_adds_to_a_packed_archive() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("a.wacz");
    let (mut store, _) = WaczStore::open(&output, 0).unwrap();
    store.write(&[encode(0), encode(1)]).unwrap();
    let len = store.position();
    assert!(!output.exists() && working_path(&output).exists(), "not packed before it is complete");
    // Bytes beyond the checkpoint are truncated.
    store.write(&[encode(2)]).unwrap();
    drop(store);
    let (mut store, report) = WaczStore::open(&output, len).unwrap();
    assert!(report.truncated > 0);
    store.finish().unwrap();
    assert!(!working_path(&output).exists());
    assert_eq!(count_records(&output), 2);
    // A run with nothing to add unpacks nothing.
    let (mut store, _) = WaczStore::open(&output, len).unwrap();
    store.sync().unwrap();
    store.finish().unwrap();
    assert!(!working_path(&output).exists());
    store.write(&[encode(3)]).unwrap();
    assert!(working_path(&output).exists());
    store.finish().unwrap();
    assert_eq!((count_records(&output), working_path(&output).exists()), (3, false));
    assert!(WaczStore::open(&output, 1 << 30).is_err(), "shorter than its checkpoint");
}

#[test]
fn the_records_of_a_link_are_beside_the_file_that_it_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let (link, file) = (folder.path().join("link.wacz"), folder.path().join("file.wacz"));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let records = folder.path().join("file.wacz.warc.gz");
    let (mut store, _) = WaczStore::open(&link, 0).unwrap();
    let lens = store.write(&[encode(0)]).unwrap();
    assert!(records.exists());
    store.finish().unwrap();
    assert!(link.is_symlink() && file.is_file() && !records.exists());
    // A retry removes records of an earlier run.
    let output = Output::file(&link, RecordFormat::Wacz);
    output.prepare_replace(&Ranges::default(), lens[0]).unwrap();
    output.replace(&Ranges::default()).unwrap();
    assert_eq!(records.metadata().unwrap().len(), lens[0]);
    assert!(output.ensure_empty().is_err());
}

#[test]
fn each_file_has_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("a.wacz");
    let (mut store, _) = WaczStore::open(&output, 0).unwrap();
    store.write(&[encode(0)]).unwrap();
    store.finish().unwrap();
    let description: Value = serde_json::from_slice(&read_member(&output, "datapackage.json")).unwrap();
    let resources = description["resources"].as_array().unwrap();
    assert_eq!(resources.len(), 3);
    for resource in resources {
        let bytes = read_member(&output, resource["path"].as_str().unwrap());
        let hash = crate::text::hex::encode(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        assert_eq!(
            (&resource["hash"], &resource["bytes"]),
            (&format!("sha256:{hash}").into(), &bytes.len().into())
        );
    }
    let mut text = String::new();
    GzDecoder::new(&read_member(&output, DATA_PATH)[..]).read_to_string(&mut text).unwrap();
    assert!(text.starts_with("WARC/1.1\r\nWARC-Type: metadata\r\n"), "{text}");
}
