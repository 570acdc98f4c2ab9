//! Where a genuine body goes: memory, or a file that appears only when it is whole.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::StatusCode;
use tokio::io::AsyncWriteExt;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::paths;
use crate::response::BodyStream;

/// Where the caller wants the body.
#[derive(Clone, Debug)]
pub(crate) enum BodySink {
    Memory,
    File(PathBuf),
    /// A file for a status below 400; the body of any other is not kept.
    FileOnSuccess(PathBuf),
}

impl BodySink {
    /// Whether the body is meant for a file.
    pub(crate) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_) | Self::FileOnSuccess(_))
    }
}

/// A body that was kept.
#[derive(Debug)]
pub(crate) struct StoredBody {
    /// The bytes, empty when they went to a file.
    pub(crate) bytes: Bytes,
    pub(crate) length: u64,
    pub(crate) file: Option<PathBuf>,
}

/// A body's beginning, read so far, and what still comes.
pub(crate) struct PartialBody {
    pub(crate) prefix: Bytes,
    pub(crate) rest: Option<BodyStream>,
}

impl PartialBody {
    /// Reads up to `limit` bytes of `body`.
    pub(crate) async fn read_prefix(mut body: BodyStream, limit: usize) -> Result<Self> {
        // What comes in one piece is not copied.
        let (mut first, mut all) = (Bytes::new(), BytesMut::new());
        let rest = loop {
            if first.len().max(all.len()) >= limit {
                break Some(body);
            }
            match body.next().await.transpose()? {
                None => break None,
                Some(piece) if first.is_empty() => first = piece,
                Some(piece) => {
                    if all.is_empty() {
                        all.extend_from_slice(&first);
                    }
                    all.extend_from_slice(&piece);
                }
            }
        };
        let prefix = if all.is_empty() { first } else { all.freeze() };
        Ok(Self { prefix, rest })
    }

    /// Reads the rest and puts all of it where it belongs.
    pub(crate) async fn finish(self, keep: &BodySink, status: StatusCode) -> Result<StoredBody> {
        match keep {
            BodySink::Memory => self.into_memory().await,
            BodySink::FileOnSuccess(_) if status.as_u16() >= 400 => {
                Ok(StoredBody { bytes: Bytes::new(), length: 0, file: None })
            }
            BodySink::File(path) | BodySink::FileOnSuccess(path) => Box::pin(self.into_file(path)).await,
        }
    }

    async fn into_memory(self) -> Result<StoredBody> {
        let Some(mut rest) = self.rest else {
            return Ok(StoredBody { length: self.prefix.len() as u64, bytes: self.prefix, file: None });
        };
        let mut whole = BytesMut::from(self.prefix);
        while let Some(chunk) = rest.next().await {
            whole.extend_from_slice(&chunk?);
        }
        Ok(StoredBody { length: whole.len() as u64, bytes: whole.freeze(), file: None })
    }

    async fn into_file(self, path: &Path) -> Result<StoredBody> {
        let named = path.to_owned();
        let failed = |cause: io::Error| {
            Error::new(ErrorKind::Io, format!("could not write {}", path.display())).with_source(cause)
        };
        // The file behind a link, so that the link stays one.
        let whole = std::fs::canonicalize(path);
        let path = whole.as_deref().unwrap_or(path);
        if !is_replaceable(path) {
            // A device or a pipe: nothing to rename, the bytes go straight in.
            let mut file = tokio::fs::OpenOptions::new().write(true).open(path).await.map_err(failed)?;
            let length = copy_to_file(self, &mut file, failed).await?;
            return Ok(StoredBody { bytes: Bytes::new(), length, file: Some(named) });
        }
        let folder = paths::parent_or_cwd(path);
        if !folder.is_dir() {
            let message =
                format!("could not write {}: there is no folder {}", path.display(), folder.display());
            return Err(Error::new(ErrorKind::Io, message));
        }
        let temporary = tempfile::Builder::new()
            .prefix(".rungs-")
            .suffix(".part")
            .permissions(new_file_mode())
            .tempfile_in(folder)
            .map_err(failed)?;
        let (file, temporary) = temporary.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let length = copy_to_file(self, &mut file, failed).await?;
        temporary.persist(path).map_err(|cause| failed(cause.error))?;
        Ok(StoredBody { bytes: Bytes::new(), length, file: Some(named) })
    }
}

async fn copy_to_file(
    begun: PartialBody,
    file: &mut tokio::fs::File,
    failed: impl Fn(io::Error) -> Error,
) -> Result<u64> {
    file.write_all(&begun.prefix).await.map_err(&failed)?;
    let mut length = begun.prefix.len() as u64;
    if let Some(mut rest) = begun.rest {
        while let Some(chunk) = rest.next().await {
            let chunk = chunk?;
            file.write_all(&chunk).await.map_err(&failed)?;
            length += chunk.len() as u64;
        }
    }
    file.flush().await.map_err(&failed)?;
    Ok(length)
}

/// Whether the path is a plain file or leads to nothing yet: then a whole file takes its place at once.
fn is_replaceable(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |meta| meta.is_file())
}

/// A temporary file is private by default; a download is as readable as any other new file.
fn new_file_mode() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o666)
}
