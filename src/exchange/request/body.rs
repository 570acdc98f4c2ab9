//! Request bodies: bytes, files, and sequences of both. A body can be sent again, after a redirect or on another tier.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use http::HeaderValue;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// The body of a request. Files in it are streamed. Clones share the content.
#[derive(Clone, Debug)]
pub struct RequestBody {
    parts: Arc<[BodyPart]>,
    length: u64,
    content_type: DefaultContentType,
}

/// The `Content-Type` of a body for which the caller sets none.
#[derive(Clone, Debug)]
pub(crate) enum DefaultContentType {
    /// That of the request's context: a form or text.
    Context,
    /// None, as of a blob without a type.
    Absent,
    Given(HeaderValue),
}

/// A piece of a body.
#[derive(Clone, Debug)]
pub(super) enum BodyPart {
    Bytes(Bytes),
    File { file: Arc<File>, offset: u64, length: u64 },
}

impl RequestBody {
    /// Opens the file `path` as a body without a content type, from the byte `offset` on. A pipe or a device is read to
    /// its end first.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read, [`ErrorKind::InvalidRequest`] if it has fewer bytes than `offset`.
    pub fn from_file(path: &Path, offset: u64) -> Result<Self> {
        let part = BodyPart::open(path)?;
        let BodyPart::File { file, length, .. } = part else { return Ok(Self::from_parts(vec![part])) };
        let Some(left) = length.checked_sub(offset) else {
            let message = format!("{} has {length} bytes, fewer than the offset {offset}", path.display());
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        };
        let mut body = Self::from_parts(vec![BodyPart::File { file, offset, length: left }]);
        body.content_type = DefaultContentType::Absent;
        Ok(body)
    }

    /// Reads `source` to its end into a temporary file, as a body without a content type.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if `source` cannot be read or the temporary file cannot be written.
    pub fn from_reader(source: &mut dyn Read) -> Result<Self> {
        let part = BodyPart::spool(source).map_err(|cause| {
            Error::new(ErrorKind::Io, "could not read the request body").with_source(cause)
        })?;
        let mut body = Self::from_parts(vec![part]);
        body.content_type = DefaultContentType::Absent;
        Ok(body)
    }

    pub(super) fn from_parts(parts: Vec<BodyPart>) -> Self {
        let length = parts.iter().map(BodyPart::length).fold(0, u64::saturating_add);
        Self { parts: parts.into(), length, content_type: DefaultContentType::Context }
    }

    pub(super) fn with_content_type(mut self, value: HeaderValue) -> Self {
        self.content_type = DefaultContentType::Given(value);
        self
    }

    /// Returns the length in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    pub(crate) const fn content_type(&self) -> &DefaultContentType {
        &self.content_type
    }

    /// Returns the content, unless it is in files.
    pub(crate) fn as_bytes(&self) -> Option<Bytes> {
        match &*self.parts {
            [] => Some(Bytes::new()),
            [BodyPart::Bytes(bytes)] => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Streams the content in blocks of up to 256 KiB.
    pub(crate) fn stream(&self) -> BoxStream<'static, io::Result<Bytes>> {
        let parts = self.parts.to_vec();
        stream::iter(parts).flat_map(BodyPart::stream).boxed()
    }

    /// Reads the whole content.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if it has more than `limit` bytes. [`ErrorKind::Io`] if a file cannot be read.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier reads it"))]
    pub(crate) async fn read(&self, limit: u64) -> Result<Bytes> {
        if self.length > limit {
            let message =
                format!("the request body has {} bytes; the browser tier sends up to {limit}", self.length);
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
        if let Some(bytes) = self.as_bytes() {
            return Ok(bytes);
        }
        let all = self.stream().try_fold(BytesMut::new(), |mut all, block| async move {
            all.extend_from_slice(&block);
            Ok(all)
        });
        all.await
            .map(BytesMut::freeze)
            .map_err(|cause| Error::new(ErrorKind::Io, "could not read the request body").with_source(cause))
    }
}

impl<T: Into<Bytes>> From<T> for RequestBody {
    fn from(bytes: T) -> Self {
        Self::from_parts(vec![BodyPart::Bytes(bytes.into())])
    }
}

impl BodyPart {
    /// Opens a file. A pipe or a device is read to its end.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |cause: io::Error| {
            Error::new(ErrorKind::Io, format!("could not read {}", path.display())).with_source(cause)
        };
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() {
            return Ok(Self::File { file: Arc::new(file), offset: 0, length: metadata.len() });
        }
        Self::spool(&mut file).map_err(failed)
    }

    /// Copies `source` to a temporary file without a name.
    pub(super) fn spool(source: &mut dyn Read) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        let length = io::copy(source, &mut file)?;
        file.rewind()?;
        Ok(Self::File { file: Arc::new(file), offset: 0, length })
    }

    const fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    fn stream(self) -> BoxStream<'static, io::Result<Bytes>> {
        match self {
            Self::Bytes(bytes) => stream::once(async { Ok(bytes) }).boxed(),
            Self::File { file, offset, length } => {
                stream::try_unfold((offset, length), move |(offset, left)| {
                    let file = Arc::clone(&file);
                    async move {
                        if left == 0 {
                            return Ok(None);
                        }
                        let block = read_block(file, offset, left).await?;
                        let length = block.len() as u64;
                        Ok(Some((block, (offset + length, left - length))))
                    }
                })
                .boxed()
            }
        }
    }
}

/// Reads the next block of up to `left` bytes at `offset`.
async fn read_block(file: Arc<File>, offset: u64, left: u64) -> io::Result<Bytes> {
    let reading = tokio::task::spawn_blocking(move || {
        let wanted = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        let mut block = vec![0; wanted];
        let length = file.read_at(&mut block, offset)?;
        if length == 0 {
            let message = "the file became shorter while it was sent";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        block.truncate(length);
        Ok(Bytes::from(block))
    });
    reading.await.map_err(io::Error::other)?
}

/// The bytes that are read from a file at once.
const BLOCK: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    async fn content(body: &RequestBody) -> Vec<u8> {
        body.read(u64::MAX).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn a_file_is_read_again_and_from_an_offset() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let data: Vec<u8> = (0..=250).cycle().take(BLOCK + 9).collect();
        file.write_all(&data).unwrap();
        let body = RequestBody::from_file(file.path(), 3).unwrap();
        assert_eq!(body.length(), data.len() as u64 - 3);
        for _ in 0..2 {
            assert_eq!(content(&body).await, data[3..]);
        }
        assert!(body.read(10).await.is_err());
        let error = RequestBody::from_file(file.path(), 1 << 40).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }

    #[tokio::test]
    async fn a_file_that_becomes_shorter_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"0123456789").unwrap();
        let body = RequestBody::from_file(file.path(), 0).unwrap();
        file.as_file().set_len(4).unwrap();
        assert_eq!(body.read(u64::MAX).await.unwrap_err().kind(), ErrorKind::Io);
    }

    #[tokio::test]
    async fn a_reader_is_read_to_its_end() {
        let body = RequestBody::from_reader(&mut &b"abc"[..]).unwrap();
        assert_eq!((body.length(), content(&body).await), (3, b"abc".to_vec()));
    }
}
