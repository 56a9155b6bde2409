//! Every bound of the storage engine, and how the bounds relate.

/// Bytes in a page: the unit of the file, of checksums and of copying.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Opaque bytes of the user that travel in the meta page.
pub(crate) const USER_META_BYTES: usize = 256;
/// Longest value: larger than any request the server admits.
pub(crate) const MAX_VALUE_BYTES: usize = 64 << 20;

const _: () = assert!(USER_META_BYTES < PAGE_BYTES / 4);
