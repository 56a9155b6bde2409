//! Requests whose message is there and whose end is not: many clients end their side in a frame of its own, and the
//! answer may overtake it.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use h2::RecvStream;

/// Requests waited for at once; the oldest are given up for more, and reset.
const MOST: usize = 1024;

/// Keeps the receiving side of calls until their end has come. Without it h2 would forget a stream with its answer,
/// take the end for a frame on a closed stream, and after a thousand of those take the client for an attacker.
#[derive(Default)]
pub(super) struct LateEnds {
    bodies: VecDeque<RecvStream>,
}

impl LateEnds {
    /// The message has been taken from `body`.
    pub(super) fn wait_for(&mut self, body: RecvStream) {
        if body.is_end_stream() {
            return;
        }
        if self.bodies.len() == MOST {
            self.bodies.pop_front();
        }
        self.bodies.push_back(body);
    }

    /// Lets go of those that have ended. What comes besides is not looked at.
    pub(super) fn sweep(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        self.bodies.retain_mut(|body| {
            loop {
                match body.poll_data(cx) {
                    Poll::Pending => return true,
                    Poll::Ready(Some(Ok(chunk))) => {
                        // An error means that the stream is gone, which the next poll says.
                        let _ = body.flow_control().release_capacity(chunk.len());
                    }
                    Poll::Ready(Some(Err(_)) | None) => return false,
                }
            }
        });
    }
}
