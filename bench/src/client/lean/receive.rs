//! What a server sends. Whatever it is, it ends in events or in a [`Cause`], never in a panic.

use std::sync::Arc;
use std::time::Instant;

use super::super::Failure;
use super::super::events::Events;
use super::cause::Cause;
use super::connection::{CONNECTION_WINDOW, Connection, STREAM_WINDOW};
use super::frame::{self, Frame, TooLong, flag, kind, setting};
use super::stream::Head;

/// A header block in CONTINUATION frames may not grow beyond this; decoded it may not either.
const MOST_BLOCK: usize = 64 << 10;
/// The least and the most that SETTINGS_MAX_FRAME_SIZE may be.
const FRAME_SIZES: std::ops::RangeInclusive<u32> = 16_384..=16_777_215;

impl Connection {
    /// Takes in bytes; what they mean for calls goes to `events`.
    pub(super) fn receive(&mut self, bytes: &[u8], at: Instant, events: &mut Events) -> Result<(), Cause> {
        if self.rest.is_empty() {
            let left = self.frames(bytes, at, events)?;
            self.rest.extend_from_slice(&bytes[bytes.len() - left..]);
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let left = self.frames(&all, at, events)?;
        all.drain(..all.len() - left);
        self.rest = all;
        Ok(())
    }

    /// Takes in whole frames and returns how many bytes are left over.
    fn frames(&mut self, bytes: &[u8], at: Instant, events: &mut Events) -> Result<usize, Cause> {
        let mut rest = bytes;
        if !self.settled && bytes.starts_with(b"HTTP/1.") {
            return Err(Cause::Http1);
        }
        while let Some(frame) =
            Frame::take(&mut rest).map_err(|TooLong| Cause::Rule("a frame is larger than was allowed"))?
        {
            self.frame(&frame, at, events)?;
        }
        Ok(rest.len())
    }

    fn frame(&mut self, frame: &Frame<'_>, at: Instant, events: &mut Events) -> Result<(), Cause> {
        if !self.settled && (frame.kind != kind::SETTINGS || frame.has(flag::ACK)) {
            return Err(Cause::Rule("the first frame is not SETTINGS"));
        }
        if self.continued.is_some() && frame.kind != kind::CONTINUATION {
            return Err(Cause::Rule("a header block is interrupted"));
        }
        let of_connection = matches!(frame.kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
        let of_stream =
            matches!(frame.kind, kind::DATA | kind::HEADERS | kind::RST_STREAM | kind::CONTINUATION);
        if of_connection && frame.stream != 0 || of_stream && frame.stream == 0 {
            return Err(Cause::Rule("a frame is on the wrong stream"));
        }
        if of_stream && !self.has_begun(frame.stream) {
            return Err(Cause::Rule("a frame is on a stream that was never opened"));
        }
        match frame.kind {
            kind::DATA => self.data(frame, at, events),
            kind::HEADERS => self.headers(frame, at, events),
            kind::CONTINUATION => self.continuation(frame, at, events),
            kind::RST_STREAM => self.reset(frame, at, events),
            kind::SETTINGS => self.settings(frame),
            kind::PING => self.ping(frame),
            kind::GOAWAY => self.go_away(frame, at, events),
            kind::WINDOW_UPDATE => self.window_update(frame, at, events),
            kind::PUSH_PROMISE => Err(Cause::Rule("a push, which was forbidden")),
            kind::PRIORITY if frame.payload.len() != 5 => {
                Err(Cause::Rule("a PRIORITY frame of wrong length"))
            }
            // What is not known is to be ignored.
            _ => Ok(()),
        }
    }

    fn has_begun(&self, number: u32) -> bool {
        number % 2 == 1 && number < self.next && self.streams.get(&number).is_none_or(|stream| !stream.waits)
    }

    fn data(&mut self, frame: &Frame<'_>, at: Instant, events: &mut Events) -> Result<(), Cause> {
        let bytes = frame.unpadded().ok_or(Cause::Rule("padding is longer than its frame"))?;
        let length = frame.payload.len() as i64;
        self.receive_window -= length;
        if self.receive_window < 0 {
            return Err(Cause::Rule("more data than the connection's window allows"));
        }
        if self.receive_window < CONNECTION_WINDOW / 2 {
            let more = CONNECTION_WINDOW - self.receive_window;
            frame::number(kind::WINDOW_UPDATE, 0, more as u32, &mut self.out);
            self.receive_window = CONNECTION_WINDOW;
        }
        let index = self.index;
        // Given up, or ended: what was already on its way is let go by.
        let Some(stream) = self.streams.get_mut(&frame.stream) else { return Ok(()) };
        stream.receive_window -= length;
        if stream.receive_window < 0 {
            return Err(Cause::Rule("more data than the stream's window allows"));
        }
        let tag = stream.tag;
        let taken = if stream.headed {
            stream.receive(bytes, |message| events.of(index, tag, at).message(message))
        } else {
            Err(Failure::Invalid("data before headers"))
        };
        let ends = frame.has(flag::END_STREAM);
        if let Err(failure) = taken {
            self.fail(frame.stream, failure, ends, at, events);
        } else if ends {
            self.fail(frame.stream, Failure::Invalid("it ends without grpc-status"), ends, at, events);
        } else if stream.receive_window < STREAM_WINDOW / 2 {
            let more = STREAM_WINDOW - stream.receive_window;
            frame::number(kind::WINDOW_UPDATE, frame.stream, more as u32, &mut self.out);
            stream.receive_window = STREAM_WINDOW;
        }
        Ok(())
    }

    fn headers(&mut self, frame: &Frame<'_>, at: Instant, events: &mut Events) -> Result<(), Cause> {
        let mut block = frame.unpadded().ok_or(Cause::Rule("padding is longer than its frame"))?;
        if frame.has(flag::PRIORITY) {
            block = block.get(5..).ok_or(Cause::Rule("a HEADERS frame of wrong length"))?;
        }
        if frame.has(flag::END_HEADERS) {
            return self.block(frame.stream, frame.has(flag::END_STREAM), block, at, events);
        }
        self.continued = Some((frame.stream, frame.flags, block.to_vec()));
        Ok(())
    }

    fn continuation(&mut self, frame: &Frame<'_>, at: Instant, events: &mut Events) -> Result<(), Cause> {
        let Some((number, flags, mut block)) = self.continued.take().filter(|(on, ..)| *on == frame.stream)
        else {
            return Err(Cause::Rule("a CONTINUATION frame that continues nothing"));
        };
        block.extend_from_slice(frame.payload);
        // Empty ones cost nothing but could go on for ever.
        if block.len() > MOST_BLOCK || frame.payload.is_empty() && !frame.has(flag::END_HEADERS) {
            return Err(Cause::Rule("a header block without end"));
        }
        if frame.has(flag::END_HEADERS) {
            return self.block(number, flags & flag::END_STREAM != 0, &block, at, events);
        }
        self.continued = Some((number, flags, block));
        Ok(())
    }

    /// A whole header block. It has to be decoded whoever it is for, because it changes the table.
    fn block(
        &mut self,
        number: u32,
        ends: bool,
        block: &[u8],
        at: Instant,
        events: &mut Events,
    ) -> Result<(), Cause> {
        let mut head = Head::default();
        self.decoder.decode(block, |name, value| head.field(name, value))?;
        let Some(stream) = self.streams.get_mut(&number) else { return Ok(()) };
        if !stream.headed {
            if head.status.is_some_and(|status| (100..200).contains(&status)) && !ends {
                return Ok(());
            }
            if let Err(failure) = head.check() {
                self.fail(number, failure, ends, at, events);
                return Ok(());
            }
            stream.headed = true;
            if !ends {
                return Ok(());
            }
        } else if !ends {
            self.fail(number, Failure::Invalid("headers in the middle"), ends, at, events);
            return Ok(());
        }
        match head.result() {
            Ok(()) => {
                if let Some(stream) = self.close(number, true) {
                    stream.succeed(events.of(self.index, stream.tag, at));
                    self.keep(stream);
                }
            }
            Err(failure) => self.fail(number, failure, ends, at, events),
        }
        Ok(())
    }

    /// Ends a call with a failure.
    fn fail(
        &mut self,
        number: u32,
        failure: Failure,
        server_is_done: bool,
        at: Instant,
        events: &mut Events,
    ) {
        if let Some(stream) = self.close(number, server_is_done) {
            events.of(self.index, stream.tag, at).failed(failure);
            self.keep(stream);
        }
    }

    fn reset(&mut self, frame: &Frame<'_>, at: Instant, events: &mut Events) -> Result<(), Cause> {
        let code = number(frame.payload).ok_or(Cause::Rule("an RST_STREAM frame of wrong length"))?;
        if let Some(stream) = self.streams.get_mut(&frame.stream) {
            // Neither side may say more.
            stream.ended = true;
            self.fail(frame.stream, Failure::Reset(code), true, at, events);
        }
        Ok(())
    }

    fn settings(&mut self, frame: &Frame<'_>) -> Result<(), Cause> {
        if frame.has(flag::ACK) {
            return if frame.payload.is_empty() {
                Ok(())
            } else {
                Err(Cause::Rule("an answer to SETTINGS says more"))
            };
        }
        let (settings, []) = frame.payload.as_chunks::<6>() else {
            return Err(Cause::Rule("a SETTINGS frame of wrong length"));
        };
        for setting in settings {
            let name = u16::from_be_bytes([setting[0], setting[1]]);
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            match name {
                setting::HEADER_TABLE_SIZE => self.encoder.limit(value as usize),
                setting::ENABLE_PUSH if value != 0 => {
                    return Err(Cause::Rule("a server can't enable pushes"));
                }
                setting::MAX_CONCURRENT_STREAMS => self.allowed.streams = value,
                setting::INITIAL_WINDOW_SIZE => self.initial_window(i64::from(value))?,
                setting::MAX_FRAME_SIZE if FRAME_SIZES.contains(&value) => {
                    self.allowed.frame = value as usize
                }
                setting::MAX_FRAME_SIZE => return Err(Cause::Rule("a largest frame that is not allowed")),
                _ => {}
            }
        }
        self.settled = true;
        frame::head(0, kind::SETTINGS, flag::ACK, 0, &mut self.out);
        self.start_waiting();
        self.pump_blocked();
        Ok(())
    }

    /// Changes the windows of all streams that have begun by as much as new ones' (RFC 9113, 6.9.2).
    fn initial_window(&mut self, window: i64) -> Result<(), Cause> {
        if window > frame::MOST_WINDOW {
            return Err(Cause::Rule("a window that is too large"));
        }
        let change = window - self.allowed.stream_window;
        self.allowed.stream_window = window;
        for stream in self.streams.values_mut() {
            stream.send_window += change;
            if stream.send_window > frame::MOST_WINDOW {
                return Err(Cause::Rule("a window that is too large"));
            }
        }
        Ok(())
    }

    fn ping(&mut self, frame: &Frame<'_>) -> Result<(), Cause> {
        if frame.payload.len() != 8 {
            return Err(Cause::Rule("a PING frame of wrong length"));
        }
        if !frame.has(flag::ACK) {
            frame::head(8, kind::PING, flag::ACK, 0, &mut self.out);
            self.out.extend_from_slice(frame.payload);
        }
        Ok(())
    }

    fn go_away(&mut self, frame: &Frame<'_>, at: Instant, events: &mut Events) -> Result<(), Cause> {
        let Some((fixed, text)) = frame.payload.split_first_chunk::<8>() else {
            return Err(Cause::Rule("a GOAWAY frame of wrong length"));
        };
        let last = u32::from_be_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]) & 0x7fff_ffff;
        let code = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let cause = Cause::GoAway { code, text: String::from_utf8_lossy(text).into_owned() };
        let why: Arc<str> = cause.to_string().into();
        // From here on a stream that ends makes no room for another.
        self.leaving = Some(why.clone());
        // What it has not begun it never will, even where its last number would allow it; what it has, it may still answer.
        let refused = self.streams.iter().filter(|(number, stream)| **number > last || stream.waits);
        let mut refused: Vec<u32> = refused.map(|(number, _)| *number).collect();
        refused.sort_unstable();
        self.waiting.clear();
        for number in refused {
            if let Some(stream) = self.streams.get_mut(&number) {
                stream.ended = true;
            }
            self.fail(number, Failure::Lost(why.clone()), true, at, events);
        }
        Ok(())
    }

    fn window_update(&mut self, frame: &Frame<'_>, at: Instant, events: &mut Events) -> Result<(), Cause> {
        let more = number(frame.payload).ok_or(Cause::Rule("a WINDOW_UPDATE frame of wrong length"))?;
        let more = i64::from(more & 0x7fff_ffff);
        if frame.stream == 0 {
            self.send_window += more;
            if more == 0 || self.send_window > frame::MOST_WINDOW {
                return Err(Cause::Rule("a window that can't be"));
            }
        } else if !self.has_begun(frame.stream) {
            return Err(Cause::Rule("a frame is on a stream that was never opened"));
        } else if let Some(stream) = self.streams.get_mut(&frame.stream) {
            stream.send_window += more;
            if more == 0 || stream.send_window > frame::MOST_WINDOW {
                self.fail(frame.stream, Failure::Invalid("a window that can't be"), false, at, events);
            }
        }
        self.pump_blocked();
        Ok(())
    }
}

/// The 31 or 32 bits some frames consist of.
fn number(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}
