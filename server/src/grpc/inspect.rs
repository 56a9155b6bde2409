//! Counts what h2 does not tell: PING and other control frames as they come in.

/// What a client sends first; its length is all that matters here.
const PREFACE: usize = 24;
const HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;

/// Follows the frame headers of the received bytes.
#[derive(Debug, Default)]
pub(crate) struct Inspector {
    /// Bytes since the last look.
    received: usize,
    pings: u32,
    /// Control frames since the last request or data.
    idle_frames: u32,
    preface: usize,
    header: [u8; HEADER],
    have: usize,
    payload: usize,
}

impl Inspector {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        self.received += bytes.len();
        if self.preface < PREFACE {
            let skip = bytes.len().min(PREFACE - self.preface);
            self.preface += skip;
            bytes = &bytes[skip..];
        }
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skip = bytes.len().min(self.payload);
                self.payload -= skip;
                bytes = &bytes[skip..];
                continue;
            }
            let take = bytes.len().min(HEADER - self.have);
            self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            if self.have == HEADER {
                self.have = 0;
                self.frame();
            }
        }
    }

    fn frame(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.payload = u32::from_be_bytes([0, a, b, c]) as usize;
        match kind {
            HEADERS | WINDOW_UPDATE => self.idle_frames = 0,
            DATA if self.payload > 0 => self.idle_frames = 0,
            // A client may end thousands of streams at once; h2 bounds resets itself.
            RESET => {}
            PING if flags & ACK == 0 => {
                self.pings += 1;
                self.idle_frames += 1;
            }
            _ => self.idle_frames += 1,
        }
    }

    /// Bytes received since the last call.
    pub(crate) fn take_received(&mut self) -> usize {
        std::mem::take(&mut self.received)
    }

    /// PINGs (not acknowledgements) since the last call.
    pub(crate) fn take_pings(&mut self) -> u32 {
        std::mem::take(&mut self.pings)
    }

    /// Frames in a row that asked for nothing: settings, pings, priorities, empty data.
    pub(crate) fn idle_frames(&self) -> u32 {
        self.idle_frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_the_bytes_are_cut() {
        let frame = |kind: u8, flags: u8, length: u8| {
            [&[0, 0, length, kind, flags, 0, 0, 0, 0][..], &vec![0xff; usize::from(length)]].concat()
        };
        let mut wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, flags, length) in
            [(4, 0, 6), (1, 4, 30), (6, 0, 8), (6, 1, 8), (4, 1, 0), (6, 0, 8), (0, 0, 0)]
        {
            wire.extend(frame(kind, flags, length));
        }
        for size in 1..wire.len() {
            let mut inspector = Inspector::default();
            wire.chunks(size).for_each(|chunk| inspector.push(chunk));
            assert_eq!(inspector.take_pings(), 2, "cut every {size} bytes");
            assert_eq!(inspector.idle_frames(), 5, "cut every {size} bytes");
            assert_eq!(inspector.take_received(), wire.len());
            inspector.push(&frame(0, 1, 5));
            assert_eq!(inspector.idle_frames(), 0);
        }
    }
}
