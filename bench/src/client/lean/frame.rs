//! HTTP/2 frames (RFC 9113): their heads, and writing the ones a client sends.

/// Length of a frame's head.
pub(super) const HEAD: usize = 9;
/// The largest frame either side may send unless the other allows more; this client allows no more.
pub(super) const MOST: usize = 16_384;
/// What every connection begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Windows and stream numbers end here.
pub(super) const MOST_WINDOW: i64 = (1 << 31) - 1;

/// Types of frames.
pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(super) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Names of settings.
pub(super) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// "This stream is no longer needed."
pub(super) const CANCEL: u32 = 8;

/// A frame that was received whole.
pub(super) struct Frame<'b> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// 0 is the connection itself.
    pub(super) stream: u32,
    pub(super) payload: &'b [u8],
}

/// A frame's length is more than was allowed.
pub(super) struct TooLong;

impl<'b> Frame<'b> {
    /// Takes the first frame off `rest`; none as long as it is not whole.
    pub(super) fn take(rest: &mut &'b [u8]) -> Result<Option<Frame<'b>>, TooLong> {
        let Some((head, after)) = rest.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if length > MOST {
            return Err(TooLong);
        }
        let Some((payload, after)) = after.split_at_checked(length) else { return Ok(None) };
        *rest = after;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Ok(Some(Frame { kind: head[3], flags: head[4], stream, payload }))
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without its padding; none if the padding is longer than the payload.
    pub(super) fn unpadded(&self) -> Option<&'b [u8]> {
        if !self.has(flag::PADDED) {
            return Some(self.payload);
        }
        let (padding, rest) = self.payload.split_first()?;
        rest.get(..rest.len().checked_sub(usize::from(*padding))?)
    }
}

/// Appends a frame's head.
pub(super) fn head(length: usize, kind: u8, flags: u8, stream: u32, out: &mut Vec<u8>) {
    debug_assert!(length < 1 << 24, "the caller keeps to the server's limit");
    let length = (length as u32).to_be_bytes();
    let [a, b, c, d] = stream.to_be_bytes();
    out.extend_from_slice(&[length[1], length[2], length[3], kind, flags, a, b, c, d]);
}

/// Appends a SETTINGS frame.
pub(super) fn settings(values: &[(u16, u32)], out: &mut Vec<u8>) {
    head(values.len() * 6, kind::SETTINGS, 0, 0, out);
    for (name, value) in values {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends a WINDOW_UPDATE or RST_STREAM frame.
pub(super) fn number(kind: u8, stream: u32, value: u32, out: &mut Vec<u8>) {
    head(4, kind, 0, stream, out);
    out.extend_from_slice(&value.to_be_bytes());
}
