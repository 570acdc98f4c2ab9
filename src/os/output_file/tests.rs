#![cfg(target_os = "linux")]

use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, Mode, mknodat};

use super::*;

/// A path in a new folder.
fn scratch(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

fn make_node(path: &Path, kind: rustix::fs::FileType, device: u64) -> bool {
    match mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), device) {
        Ok(()) => true,
        // Only root may create device nodes.
        Err(rustix::io::Errno::PERM) => false,
        Err(cause) => panic!("{cause}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_regular_file_appears_when_it_is_complete() {
    let (folder, path) = scratch("out");
    let mut file = OutputFile::create(&path, FileMode::Ordinary).unwrap();
    file.write_all(b"half").unwrap();
    assert!(!path.exists());
    drop(file);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a dropped output leaves nothing");
    write(&path, b"first", FileMode::Ordinary).unwrap();
    write(&path, b"second", FileMode::Ordinary).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    let error = write(&folder.path().join("no/out"), b"x", FileMode::Ordinary).unwrap_err();
    assert!(error.to_string().contains("no folder"), "{error}");
}

#[test]
fn permissions_of_an_existing_file_are_kept() {
    let (_folder, path) = scratch("out");
    for (before, file_mode, after) in [
        (0o644, FileMode::Ordinary, 0o644),
        (0o600, FileMode::Ordinary, 0o600),
        (0o666, FileMode::Ordinary, 0o666),
        (0o755, FileMode::Ordinary, 0o755),
        (0o640, FileMode::Private, 0o600),
        (0o600, FileMode::Private, 0o600),
    ] {
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
        write(&path, b"new", file_mode).unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (after, b"new".to_vec()), "{before:o}");
    }
    fs::remove_file(&path).unwrap();
    write(&path, b"new", FileMode::Private).unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_link_stays_and_its_target_is_written() {
    let (folder, path) = scratch("link");
    fs::create_dir(folder.path().join("sub")).unwrap();
    for (target, is_there) in [("target", true), ("sub/missing", false)] {
        let target = folder.path().join(target);
        if is_there {
            fs::write(&target, "old").unwrap();
        }
        symlink(target.strip_prefix(folder.path()).unwrap(), &path).unwrap();
        let second = folder.path().join("second");
        symlink("link", &second).unwrap();
        for link in [&path, &second] {
            write(link, b"new", FileMode::Ordinary).unwrap();
            assert!(fs::symlink_metadata(link).unwrap().is_symlink());
            assert_eq!(fs::read(&target).unwrap(), b"new");
        }
        fs::remove_file(&path).unwrap();
        fs::remove_file(second).unwrap();
    }
    symlink("link", &path).unwrap();
    assert!(write(&path, b"x", FileMode::Ordinary).unwrap_err().to_string().contains("links"));
}

#[test]
fn a_pipe_is_written_to_and_stays() {
    let (_folder, path) = scratch("pipe");
    assert!(make_node(&path, rustix::fs::FileType::Fifo, 0));
    for mode in [FileMode::Ordinary, FileMode::Private] {
        let reader = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut text = String::new();
                File::open(path).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        write(&path, &vec![b'x'; 100_000], mode).unwrap();
        assert_eq!(reader.join().unwrap().len(), 100_000);
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
    }
    assert!(open_regular(&path, 0o600).unwrap_err().to_string().contains("is a pipe"));
    assert!(!is_regular_or_missing(&path));
}

#[test]
fn a_device_is_written_to_and_stays() {
    let (_folder, path) = scratch("null");
    // A node of the device that discards all data: never the real one.
    if !make_node(&path, rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3)) {
        return;
    }
    let before = mode(&path);
    for file_mode in [FileMode::Ordinary, FileMode::Private] {
        // A file system may forbid devices. Then it is an error.
        let _ = write(&path, b"x", file_mode);
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.file_type().is_char_device() && metadata.mode() & 0o7777 == before);
    }
    assert!(open_regular(&path, 0o600).unwrap_err().to_string().contains("is a device"));
}

#[test]
fn directories_sockets_and_block_devices_are_refused() {
    let (folder, socket) = scratch("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let block = folder.path().join("block");
    // A loop device without a file.
    let has_block = make_node(&block, rustix::fs::FileType::BlockDevice, rustix::fs::makedev(7, 250));
    let slash = folder.path().join("new/");
    for (path, word) in
        [(folder.path(), "directory"), (&socket, "socket"), (&slash, "directory"), (&block, "block")]
    {
        if word == "block" && !has_block {
            continue;
        }
        let error = write(path, b"x", FileMode::Ordinary).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(open_regular(path, 0o600).is_err());
    }
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
}

#[test]
fn an_open_file_is_written_to_and_not_replaced() {
    let (folder, path) = scratch("open");
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path).unwrap();
    file.write_all(b"first ").unwrap();
    let inode = file.metadata().unwrap().ino();
    let number = std::os::fd::AsRawFd::as_raw_fd(&file);
    for path in [format!("/dev/fd/{number}"), format!("/proc/self/fd/{number}")] {
        assert!(!is_regular_or_missing(Path::new(&path)));
        write(Path::new(&path), b"more ", FileMode::Private).unwrap();
    }
    let link = folder.path().join("link");
    symlink(format!("/dev/fd/{number}"), &link).unwrap();
    write(&link, b"again", FileMode::Ordinary).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first more more again");
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert!(resolve_regular(Path::new("/dev/stdout")).is_err());
}

#[test]
fn links_and_pipes_of_others_in_a_shared_folder_are_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (folder, link) = scratch("link");
    let (target, pipe) = (folder.path().join("target"), folder.path().join("pipe"));
    symlink("target", &link).unwrap();
    assert!(make_node(&pipe, rustix::fs::FileType::Fifo, 0));
    for path in [&link, &pipe] {
        std::os::unix::fs::lchown(path, Some(12_345), None).unwrap();
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
    for path in [&link, &pipe] {
        let error = write(path, b"x", FileMode::Private).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    }
    assert!(!target.exists());
    // In a folder of one's own they are used.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    write(&link, b"x", FileMode::Private).unwrap();
    assert!(target.exists());
}

#[test]
fn a_sibling_has_the_permissions_and_replaces_no_link() {
    let (folder, path) = scratch("out");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let (sibling, other) = (folder.path().join("out.part"), folder.path().join("other"));
    fs::write(&other, "other").unwrap();
    symlink("other", &sibling).unwrap();
    create_sibling(&path, &sibling).unwrap().write_all(b"new").unwrap();
    assert_eq!((mode(&sibling), fs::read(&other).unwrap()), (0o640, b"other".to_vec()));
}
