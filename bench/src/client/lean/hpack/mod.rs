//! HPACK (RFC 7541), as much as a gRPC client needs: what it sends is the same few headers over and over, so they go into the
//! table once and are one byte each from then on; what it receives may be anything a server is allowed to send.
//!
//! Literals are sent without Huffman coding: they are sent once. A block that breaks a rule is an error, and so is the
//! connection it came on, because both sides' tables no longer agree.

mod decode;
mod encode;
mod huffman;
mod table;

pub(super) use decode::Decoder;
pub(super) use encode::Encoder;

/// Both sides' tables are this large unless SETTINGS say otherwise.
const DEFAULT_TABLE_BYTES: usize = 4096;

/// Why a block could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// The block ends within an entry.
    #[error("a header block ends within a field")]
    Short,
    /// A number does not fit or has too many bytes.
    #[error("a number in a header block is too large")]
    Number,
    /// A Huffman code that does not exist, or wrong padding.
    #[error("a header holds an invalid Huffman code")]
    Huffman,
    /// No such entry in the table.
    #[error("a header block names an entry that does not exist")]
    Index,
    /// A size of the table above what was allowed, or not at the block's beginning.
    #[error("a header block changes the table's size wrongly")]
    Resize,
    /// More than any server has to say.
    #[error("headers are larger than {} bytes", decode::MOST_BYTES)]
    TooLarge,
}
