//! Output files. Every file that a user names, and that rungs writes, is opened here.
//!
//! | the path is | then |
//! |---|---|
//! | missing, or a regular file | the complete content replaces it at once ([`OutputFile`]); its permissions are kept |
//! | a symbolic link | the file it leads to is written; the link stays |
//! | a character device or a pipe | it is written to, and stays |
//! | `/dev/stdout`, `/dev/fd/N` | the open file is written to, at its position |
//! | a directory, a socket or a block device | an error |
//!
//! In a folder that all users can write to, such as `/tmp`, links and pipes of other users are refused, as the kernel
//! does with `protected_symlinks` and `protected_fifos`.

mod remote_name;

use std::fs::{self, File, FileType, Metadata, OpenOptions, Permissions};
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use crate::os::paths::parent_or_cwd;

pub use remote_name::{name_from_headers, name_from_url};

/// The permissions of a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// Those of an ordinary new file. An existing file keeps its own.
    Ordinary,
    /// Only its owner can read it. An existing file loses the permissions of others.
    Private,
}

/// An output that is being written.
#[derive(Debug)]
pub struct OutputFile(Inner);

#[derive(Debug)]
enum Inner {
    /// A file that replaces `path` when it is complete.
    Replacement { temporary: NamedTempFile, path: PathBuf },
    /// A file that appears at `path` when it is complete, unless there is one by then.
    New { temporary: NamedTempFile, path: PathBuf },
    /// A device, a pipe or an open file.
    Stream(File),
}

/// The end of a path, after all symbolic links.
#[derive(Debug)]
enum Target {
    Missing(PathBuf),
    Regular(PathBuf, Metadata),
    /// A device or a pipe.
    Stream(PathBuf, FileType),
    /// An open file of a process.
    Descriptor(PathBuf),
}

impl OutputFile {
    /// Opens `path` for new content. Waits up to ten seconds for a process that reads a pipe, so call it on a thread
    /// for blocking work.
    ///
    /// # Errors
    /// Fails if the path cannot be written or must not be replaced.
    pub fn create(path: &Path, mode: FileMode) -> io::Result<Self> {
        let (path, existing) = match Target::find(path)? {
            Target::Missing(path) => (path, None),
            Target::Regular(path, metadata) => (path, Some(metadata)),
            stream => return stream.open().map(|file| Self(Inner::Stream(file))),
        };
        let folder = parent_or_cwd(&path);
        if !folder.is_dir() {
            let message = format!("there is no folder {}", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        if existing.is_some() {
            // A rename would replace a file that the user must not write.
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
            OpenOptions::new().write(true).custom_flags(flags).open(&path)?;
        }
        let new = match mode {
            FileMode::Ordinary => 0o666,
            FileMode::Private => 0o600,
        };
        let temporary = create_temporary(folder, new)?;
        if let Some(metadata) = existing {
            keep_owner_and_permissions(temporary.as_file(), &metadata, mode)?;
        }
        Ok(Self(Inner::Replacement { temporary, path }))
    }

    /// Opens the new file `path`. It never replaces a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is a file, also from [`commit`](Self::commit).
    pub fn create_if_absent(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists"));
        }
        let temporary = create_temporary(parent_or_cwd(path), 0o666)?;
        Ok(Self(Inner::New { temporary, path: path.to_owned() }))
    }

    /// Returns another handle of the file that is written.
    ///
    /// # Errors
    /// Fails if there are too many open files.
    pub fn try_clone_file(&self) -> io::Result<File> {
        match &self.0 {
            Inner::Replacement { temporary, .. } | Inner::New { temporary, .. } => {
                temporary.as_file().try_clone()
            }
            Inner::Stream(file) => file.try_clone(),
        }
    }

    /// Ends the output: the complete file appears at its path. An output that is dropped instead leaves nothing behind.
    ///
    /// # Errors
    /// Fails if the file could not be renamed.
    pub fn commit(self) -> io::Result<()> {
        match self.0 {
            Inner::Replacement { temporary, path } => {
                temporary.persist(path).map(drop).map_err(|cause| cause.error)
            }
            Inner::New { temporary, path } => {
                temporary.persist_noclobber(path).map(drop).map_err(|cause| cause.error)
            }
            Inner::Stream(_) => Ok(()),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Replacement { temporary, .. } | Inner::New { temporary, .. } => temporary.write(bytes),
            Inner::Stream(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Inner::Replacement { temporary, .. } | Inner::New { temporary, .. } => temporary.flush(),
            Inner::Stream(file) => file.flush(),
        }
    }
}

/// Writes all of `bytes` to `path`, as [`OutputFile`] does.
///
/// # Errors
/// Fails if the path cannot be written.
pub fn write(path: &Path, bytes: &[u8], mode: FileMode) -> io::Result<()> {
    let mut file = OutputFile::create(path, mode)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Checks that `path` can be written, and changes nothing. A pipe is not opened.
///
/// # Errors
/// Fails if the path cannot be written.
pub fn check(path: &Path) -> io::Result<()> {
    match Target::find(path)? {
        Target::Missing(_) | Target::Regular(..) => OutputFile::create(path, FileMode::Private).map(drop),
        Target::Stream(..) | Target::Descriptor(_) => Ok(()),
    }
}

/// Whether `path` is a regular file or does not exist. Only then can other files be placed beside it.
#[must_use]
pub fn is_regular_or_missing(path: &Path) -> bool {
    matches!(Target::find(path), Ok(Target::Missing(_) | Target::Regular(..)))
}

/// Returns the regular or missing file that `path` leads to through symbolic links.
///
/// # Errors
/// Fails if it is anything else.
pub(crate) fn resolve_regular(path: &Path) -> io::Result<PathBuf> {
    match Target::find(path)? {
        Target::Missing(path) | Target::Regular(path, _) => Ok(path),
        Target::Stream(_, kind) => Err(not_regular(kind)),
        Target::Descriptor(_) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is an open file of a process; name a regular file",
        )),
    }
}

/// Opens a regular file for reading and writing, or creates it with `mode`. Never waits for a pipe, and never changes
/// a device.
pub(crate) fn open_regular(path: &Path, mode: u32) -> io::Result<File> {
    let path = resolve_regular(path)?;
    // Nothing is followed and nothing waits, even if the path changed in the meantime.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(mode)
        .custom_flags(flags)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() { Ok(file) } else { Err(not_regular(kind)) }
}

/// Opens a regular file, or creates it, to write behind its first `position` bytes. What is there now is removed.
///
/// # Errors
/// Fails if the file is shorter, or not a regular one.
pub(crate) fn open_at(path: &Path, position: u64) -> io::Result<File> {
    let mut file = open_regular(path, 0o666)?;
    if file.metadata()?.len() < position {
        return Err(io::Error::other("the file became shorter"));
    }
    file.set_len(position)?;
    file.seek(io::SeekFrom::Start(position))?;
    Ok(file)
}

/// Opens the device, pipe or open file that `path` is, for a stream of records. `None` if it is a regular or missing
/// file.
pub(crate) fn open_stream(path: &Path) -> io::Result<Option<File>> {
    match Target::find(path)? {
        Target::Missing(_) | Target::Regular(..) => Ok(None),
        stream => stream.open().map(Some),
    }
}

/// Creates the empty file `sibling`, with the owner and permissions of `path`. Removes an earlier one.
pub(crate) fn create_sibling(path: &Path, sibling: &Path) -> io::Result<File> {
    match fs::remove_file(sibling) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(sibling)?;
    keep_owner_and_permissions(&file, &fs::metadata(path)?, FileMode::Ordinary)?;
    Ok(file)
}

/// Renames `from` to `to`, both regular files.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

impl Target {
    /// Follows the symbolic links of `path`.
    fn find(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Some(name) = path.file_name().map(ToOwned::to_owned) else {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
            };
            // The last part of `a/` is `a`, which must then be a directory.
            if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
            }
            // The kernel decides first whether this user may follow the links on the way.
            let folder = match fs::metadata(parent_or_cwd(&path))
                .and_then(|_| fs::canonicalize(parent_or_cwd(&path)))
            {
                Ok(folder) => folder,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Self::Missing(path)),
                Err(cause) => return Err(cause),
            };
            let end = folder.join(&name);
            if folder.starts_with("/proc") || folder == Path::new("/dev/fd") {
                return Ok(Self::Descriptor(end));
            }
            let metadata = match fs::symlink_metadata(&end) {
                Ok(metadata) => metadata,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Self::Missing(end)),
                Err(cause) => return Err(cause),
            };
            let kind = metadata.file_type();
            if !kind.is_symlink() {
                return Self::from_metadata(&folder, end, metadata);
            }
            refuse_foreign(&folder, &metadata, "link")?;
            path = folder.join(fs::read_link(&end)?);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it leads over more than {MAX_LINKS} links")))
    }

    fn from_metadata(folder: &Path, path: PathBuf, metadata: Metadata) -> io::Result<Self> {
        let kind = metadata.file_type();
        if kind.is_file() {
            return Ok(Self::Regular(path, metadata));
        }
        if kind.is_char_device() || kind.is_fifo() {
            refuse_foreign(folder, &metadata, describe(kind))?;
            return Ok(Self::Stream(path, kind));
        }
        Err(not_regular(kind))
    }

    /// Opens a stream for writing.
    fn open(&self) -> io::Result<File> {
        match self {
            Self::Missing(path) | Self::Regular(path, _) => OpenOptions::new().write(true).open(path),
            Self::Stream(path, kind) if kind.is_fifo() => open_pipe(path),
            Self::Stream(path, _) => {
                let flags = OFlags::NOCTTY.bits().cast_signed();
                OpenOptions::new().write(true).custom_flags(flags).open(path)
            }
            Self::Descriptor(path) => open_descriptor(path),
        }
    }
}

/// Opens a pipe, and waits for its reader.
fn open_pipe(path: &Path) -> io::Result<File> {
    let deadline = Instant::now() + PIPE_TIMEOUT;
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    loop {
        match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            Err(cause) if cause.raw_os_error() == Some(NO_READER) => {
                if Instant::now() >= deadline {
                    let message =
                        format!("no process has opened the pipe for reading within {PIPE_TIMEOUT:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
                std::thread::sleep(PIPE_POLL);
            }
            opened => {
                let file = opened?;
                // A slow reader makes writes wait. It is not an error.
                let flags = rustix::fs::fcntl_getfl(&file)?;
                rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
                return Ok(file);
            }
        }
    }
}

/// Opens an open file of a process, such as `/proc/self/fd/1`. The own standard streams are shared, with their position.
/// Others are opened again; content is appended to a regular file.
fn open_descriptor(path: &Path) -> io::Result<File> {
    let own = |name: &str| {
        let process = std::process::id().to_string();
        path.file_name().is_some_and(|file| file == name)
            && (path.parent() == Some(Path::new("/dev/fd"))
                || path.components().any(|part| part.as_os_str() == process.as_str()))
    };
    if own("1") {
        return io::stdout().as_fd().try_clone_to_owned().map(File::from);
    }
    if own("2") {
        return io::stderr().as_fd().try_clone_to_owned().map(File::from);
    }
    OpenOptions::new().append(true).open(path)
}

fn create_temporary(folder: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let permissions = Permissions::from_mode(mode);
    tempfile::Builder::new().prefix(".rungs-").suffix(".part").permissions(permissions).tempfile_in(folder)
}

/// Gives `file` the owner and the permissions of the file that it replaces.
fn keep_owner_and_permissions(file: &File, existing: &Metadata, mode: FileMode) -> io::Result<()> {
    let owner = (Some(existing.uid()), Some(existing.gid()));
    if file.metadata().is_ok_and(|new| (Some(new.uid()), Some(new.gid())) != owner) {
        // Only root may give a file to another user. Otherwise the new file belongs to this user.
        let _ = std::os::unix::fs::fchown(file, owner.0, owner.1);
    }
    let kept = match mode {
        FileMode::Ordinary => existing.mode() & 0o777,
        FileMode::Private => existing.mode() & 0o700,
    };
    file.set_permissions(Permissions::from_mode(kept))
}

/// Refuses a link or a pipe that another user placed in a folder that all users can write to.
fn refuse_foreign(folder: &Path, metadata: &Metadata, what: &str) -> io::Result<()> {
    let shared = fs::metadata(folder)?;
    let is_shared = shared.mode() & 0o1002 == 0o1002;
    let owner = metadata.uid();
    if !is_shared || owner == rustix::process::geteuid().as_raw() || owner == shared.uid() {
        return Ok(());
    }
    let message = format!("the {what} belongs to another user, in a folder that all users can write to");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

fn not_regular(kind: FileType) -> io::Error {
    let error = if kind.is_dir() { io::ErrorKind::IsADirectory } else { io::ErrorKind::InvalidInput };
    io::Error::new(error, format!("it is a {}, not a regular file", describe(kind)))
}

fn describe(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "directory"
    } else if kind.is_fifo() {
        "pipe"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_block_device() {
        "block device"
    } else {
        "device"
    }
}

/// Maximum symbolic links of a path, as in the kernel.
const MAX_LINKS: usize = 40;
/// Time to wait for a process that reads a pipe, and the interval between two tries.
const PIPE_TIMEOUT: Duration = Duration::from_secs(10);
const PIPE_POLL: Duration = Duration::from_millis(20);
/// The error of a pipe that no process reads: `ENXIO`.
const NO_READER: i32 = rustix::io::Errno::NXIO.raw_os_error();

#[cfg(test)]
mod tests;
