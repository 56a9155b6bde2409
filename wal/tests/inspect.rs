//! The read-only walk says what opening would say, and shows every sound frame of a damaged log.

mod support;

use std::sync::Arc;

use support::{MemIo, append, create, dir, entry, open, options};
use wal::{Error, SegmentContent, inspect};

#[test]
fn shows_every_frame_and_the_verdict() {
    let io = MemIo::default();
    let options = options(8192);
    let mut wal = create(&io, &options).unwrap();
    let entries: Vec<_> = (1..=40).map(|index| entry(index, 2, 300)).collect();
    for entry in &entries {
        append(&mut wal, std::slice::from_ref(entry)).unwrap();
    }
    wal.close().unwrap();
    let before = io.image();

    let walk = inspect(dir(), Arc::new(io.clone())).unwrap();
    let mut found = Vec::new();
    let mut sequence = 0;
    for segment in &walk.segments {
        if let SegmentContent::Frames { frames, .. } = &segment.content {
            for frame in frames {
                sequence += 1;
                assert_eq!((frame.sequence, frame.watermark), (sequence, sequence - 1));
                found.extend(frame.entries.iter().cloned());
            }
        }
    }
    assert_eq!(found, entries);
    assert_eq!(sequence, 41, "forty batches and the seal");
    let summary = walk.rest.verdict.unwrap();
    assert_eq!((summary.start.index, summary.last_index, summary.torn_tail), (0, 40, None));
    assert!(matches!(walk.segments.last().unwrap().content, SegmentContent::Unused));
    assert!(io.image() == before);

    io.flip("0000000000000001.wal", 2000, 3);
    let walk = inspect(dir(), Arc::new(io.clone())).unwrap();
    let SegmentContent::Frames { frames, end, .. } = &walk.segments[0].content else { panic!("no frames") };
    assert!(!frames.is_empty() && *end <= 2000);
    let error = walk.rest.verdict.unwrap_err();
    assert_eq!(error.to_string(), open(&io, &options).err().unwrap().to_string());
    let Error::Damaged(damage) = error else { panic!("{error}") };
    assert_eq!(damage.offset, frames.last().map(|_| *end).unwrap());
    assert_names_the_place(&damage.to_string());
}

/// The message names the file, the offset and what was expected.
fn assert_names_the_place(message: &str) {
    for part in
        ["/log/0000000000000001.wal", "offset ", "expected frame ", "segment 2 came after it was durable"]
    {
        assert!(message.contains(part), "{message}");
    }
}
