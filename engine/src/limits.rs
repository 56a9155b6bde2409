//! Every bound of the storage engine, and how the bounds relate.

/// Bytes in a page: the unit of the file, of checksums and of copying.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Opaque bytes of the user that travel in the meta page.
pub(crate) const USER_META_BYTES: usize = 256;
/// Longest key.
pub(crate) const MAX_KEY_BYTES: usize = 1800;
/// Longest value: larger than any request the server admits.
pub(crate) const MAX_VALUE_BYTES: usize = 64 << 20;
/// Key and value of an entry stay in the leaf up to this many bytes together; longer values get a run of pages.
pub(crate) const MAX_INLINE_BYTES: usize = 1900;
/// Branch levels above a leaf. Two children a branch, the least there can be, would need more pages than fit.
pub(crate) const MAX_LEVEL: u8 = 31;
/// Pages are numbered with 31 bits (the 32nd tells memory from file): 8 TiB.
pub(crate) const MAX_PAGES: u64 = 1 << 31;
/// A page with fewer bytes in use than this looks for a neighbor to merge with.
pub(crate) const MERGE_BELOW_BYTES: usize = PAGE_BYTES / 4;
/// A merged page keeps at least this many bytes free, so that the next put does not split it again.
pub(crate) const MERGE_SLACK_BYTES: usize = PAGE_BYTES / 8;
/// The checkpoint hands the file at most this many bytes at once.
pub(crate) const WRITE_BYTES: usize = 256 << 10;
/// An extent of records has at least this many bytes before it is closed, unless a checkpoint closes it.
pub(crate) const EXTENT_LEAST_BYTES: usize = 16 << 10;
/// An extent has at most this many bytes, unless it is a single record.
pub(crate) const EXTENT_MOST_BYTES: usize = 64 << 10;
/// Records in an extent.
pub(crate) const EXTENT_MOST_RECORDS: usize = 1024;

/// The file is cut by at most this many bytes at once.
pub(crate) const CUT_BYTES: usize = 8 << 20;

const _: () = assert!(WRITE_BYTES.is_multiple_of(PAGE_BYTES) && CUT_BYTES.is_multiple_of(PAGE_BYTES));
const _: () = assert!(USER_META_BYTES < PAGE_BYTES / 4);
// Two of the largest entries and the header fit in a page: a full page and one more entry always make two.
const _: () = assert!(2 * (MAX_INLINE_BYTES + 10) + 24 < PAGE_BYTES);
// A leaf cell whose value is in a run, and a branch cell, are no larger than an inline one.
const _: () = assert!(MAX_KEY_BYTES + 24 < MAX_INLINE_BYTES);
const _: () = assert!(MERGE_BELOW_BYTES + MERGE_SLACK_BYTES < PAGE_BYTES / 2);
// Offsets in an extent have 16 bits.
const _: () = assert!(EXTENT_MOST_BYTES <= 1 << 16 && EXTENT_MOST_BYTES.is_multiple_of(PAGE_BYTES));
// The directory of a full extent leaves room for records.
const _: () = assert!(EXTENT_LEAST_BYTES < EXTENT_MOST_BYTES && EXTENT_MOST_RECORDS * 8 < EXTENT_LEAST_BYTES);
// What compaction says of an extent stays in the leaf.
const _: () = assert!(8 + EXTENT_MOST_RECORDS / 8 + 16 < MAX_INLINE_BYTES);
