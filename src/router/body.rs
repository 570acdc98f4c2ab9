//! Stores the body of a genuine response: in memory, or in a file that appears only when it is complete.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::StatusCode;
use tokio::io::AsyncWriteExt;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::output_file::{FileMode, OutputFile};
use crate::response::BodyStream;

/// The destination of the body.
#[derive(Clone, Debug)]
pub(crate) enum BodySink {
    Memory,
    File(PathBuf),
    /// A file for a status below 400. The body of any other response is discarded.
    FileOnSuccess(PathBuf),
}

impl BodySink {
    /// Whether the body goes to a file.
    pub(crate) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_) | Self::FileOnSuccess(_))
    }
}

/// A stored body.
#[derive(Debug)]
pub(crate) struct StoredBody {
    /// The bytes. Empty if they went to a file.
    pub(crate) bytes: Bytes,
    pub(crate) length: u64,
    pub(crate) file: Option<PathBuf>,
}

/// A body of which only the beginning was read.
pub(crate) struct PartialBody {
    pub(crate) prefix: Bytes,
    pub(crate) rest: Option<BodyStream>,
}

impl PartialBody {
    /// Reads up to `limit` bytes of `body`.
    pub(crate) async fn read_prefix(mut body: BodyStream, limit: usize) -> Result<Self> {
        // A body that arrives in one chunk is not copied.
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

    /// Reads the rest and stores the whole body in `sink`.
    pub(crate) async fn finish(self, sink: &BodySink, status: StatusCode) -> Result<StoredBody> {
        match sink {
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
        let mut body = BytesMut::from(self.prefix);
        while let Some(chunk) = rest.next().await {
            body.extend_from_slice(&chunk?);
        }
        Ok(StoredBody { length: body.len() as u64, bytes: body.freeze(), file: None })
    }

    async fn into_file(self, path: &Path) -> Result<StoredBody> {
        let destination = path.to_owned();
        let failed = |cause: io::Error| {
            Error::new(ErrorKind::Io, format!("could not write {}", path.display())).with_source(cause)
        };
        let to_open = destination.clone();
        let opening = tokio::task::spawn_blocking(move || OutputFile::create(&to_open, FileMode::Ordinary));
        let output = opening.await.map_err(io::Error::other).and_then(|output| output).map_err(failed)?;
        let mut file = tokio::fs::File::from_std(output.try_clone_file().map_err(failed)?);
        let length = copy_to_file(self, &mut file, failed).await?;
        output.commit().map_err(failed)?;
        Ok(StoredBody { bytes: Bytes::new(), length, file: Some(destination) })
    }
}

async fn copy_to_file(
    body: PartialBody,
    file: &mut tokio::fs::File,
    failed: impl Fn(io::Error) -> Error,
) -> Result<u64> {
    file.write_all(&body.prefix).await.map_err(&failed)?;
    let mut length = body.prefix.len() as u64;
    if let Some(mut rest) = body.rest {
        while let Some(chunk) = rest.next().await {
            let chunk = chunk?;
            file.write_all(&chunk).await.map_err(&failed)?;
            length += chunk.len() as u64;
        }
    }
    file.flush().await.map_err(&failed)?;
    Ok(length)
}
