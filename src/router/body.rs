//! Stores the body of a genuine response: in memory, or in a file that appears only when it is complete.

use std::future::ready;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::header::IF_RANGE;
use http::{HeaderMap, StatusCode};
use tokio::io::AsyncWriteExt;

use super::resume;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::exchange::response::BodyStream;
use crate::os::output_file::{self, FileMode, OutputFile};

/// The destination of the body.
#[derive(Clone, Debug)]
pub(crate) enum BodySink {
    Memory,
    File(PathBuf),
    /// A file for a status below 400. The body of any other response is discarded.
    FileOnSuccess(PathBuf),
    /// A new file in this folder, with the name that the response gives it, else that of the requested URL.
    Folder(PathBuf),
    /// A file that has the bytes before `offset` already.
    Resume {
        path: PathBuf,
        offset: u64,
    },
}

impl BodySink {
    /// Whether a part of the body is kept after an error.
    pub(crate) const fn keeps_broken(&self) -> bool {
        matches!(self, Self::Resume { .. })
    }

    /// Whether the body goes to a file.
    pub(crate) const fn is_file(&self) -> bool {
        !matches!(self, Self::Memory)
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
    /// Reads up to `limit` bytes of `body`. With `keeps_broken`, an error within them is met after them.
    pub(crate) async fn read_prefix(mut body: BodyStream, limit: usize, keeps_broken: bool) -> Result<Self> {
        // A body that arrives in one chunk is not copied.
        let (mut first, mut all) = (Bytes::new(), BytesMut::new());
        let rest = loop {
            if first.len().max(all.len()) >= limit {
                break Some(body);
            }
            match body.next().await.transpose() {
                Err(error) if keeps_broken => break Some(stream::once(ready(Err(error))).boxed()),
                Err(error) => return Err(error),
                Ok(None) => break None,
                Ok(Some(piece)) if first.is_empty() => first = piece,
                Ok(Some(piece)) => {
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
    pub(crate) async fn finish(
        self,
        sink: &BodySink,
        request: &Request,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<StoredBody> {
        let discarded = StoredBody { bytes: Bytes::new(), length: 0, file: None };
        match sink {
            BodySink::Memory => self.into_memory().await,
            // The file is as the server has it.
            _ if status == StatusCode::NOT_MODIFIED => Ok(discarded),
            BodySink::FileOnSuccess(_) | BodySink::Folder(_) if status.as_u16() >= 400 => Ok(discarded),
            BodySink::File(path) | BodySink::FileOnSuccess(path) => {
                Box::pin(self.into_file(path, FileUse::Replace)).await
            }
            BodySink::Folder(folder) => {
                let name = output_file::name_from_headers(headers)
                    .or_else(|| output_file::name_from_url(&request.url))
                    .ok_or_else(|| {
                        Error::new(
                            ErrorKind::InvalidRequest,
                            "neither the response nor the URL has a file name",
                        )
                    })?;
                Box::pin(self.into_file(&folder.join(name), FileUse::CreateNew)).await
            }
            BodySink::Resume { path, offset } => {
                match resume::position(
                    *offset,
                    request.headers.iter().any(|(name, _)| name == IF_RANGE),
                    status,
                    headers,
                )? {
                    Some(position) => Box::pin(self.append_to_file(path, position)).await,
                    None => Ok(discarded),
                }
            }
        }
    }

    /// Writes the body into the file `path` from `position` on. What arrives stays in the file, also after an error.
    async fn append_to_file(self, path: &Path, position: u64) -> Result<StoredBody> {
        let destination = path.to_owned();
        let failed = |cause: io::Error| {
            Error::new(ErrorKind::Io, format!("could not write {}", path.display())).with_source(cause)
        };
        let to_open = destination.clone();
        let opening = tokio::task::spawn_blocking(move || output_file::open_at(&to_open, position));
        let file = opening.await.map_err(io::Error::other).and_then(|file| file).map_err(failed)?;
        let length = copy_to_file(self, &mut tokio::fs::File::from_std(file), failed).await?;
        Ok(StoredBody { bytes: Bytes::new(), length, file: Some(destination) })
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

    async fn into_file(self, path: &Path, usage: FileUse) -> Result<StoredBody> {
        let destination = path.to_owned();
        let failed = |cause: io::Error| {
            Error::new(ErrorKind::Io, format!("could not write {}", path.display())).with_source(cause)
        };
        let to_open = destination.clone();
        let opening = tokio::task::spawn_blocking(move || match usage {
            FileUse::Replace => OutputFile::create(&to_open, FileMode::Ordinary),
            FileUse::CreateNew => OutputFile::create_if_absent(&to_open),
        });
        let output = opening.await.map_err(io::Error::other).and_then(|output| output).map_err(failed)?;
        let mut file = tokio::fs::File::from_std(output.try_clone_file().map_err(failed)?);
        let length = copy_to_file(self, &mut file, failed).await?;
        output.commit().map_err(failed)?;
        Ok(StoredBody { bytes: Bytes::new(), length, file: Some(destination) })
    }
}

/// Whether a file may be replaced.
#[derive(Clone, Copy)]
enum FileUse {
    Replace,
    CreateNew,
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
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    file.flush().await.map_err(&failed)?;
                    return Err(error);
                }
            };
            file.write_all(&chunk).await.map_err(&failed)?;
            length += chunk.len() as u64;
        }
    }
    file.flush().await.map_err(&failed)?;
    Ok(length)
}
