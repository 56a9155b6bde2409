//! Response bytes on their way through h2, counted until they are on the wire or dropped.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::{Buf, Bytes};

use super::frame::Frame;

/// Unsent bytes of one stream, or of all unary calls of a connection.
pub(crate) struct Account {
    unsent: Cell<usize>,
    /// Unsent bytes of the whole connection.
    total: Rc<Cell<usize>>,
    relief: Option<Relief>,
}

/// Tells a stream that was full that it has room again.
struct Relief {
    slot: u32,
    /// Room means: not more than this.
    low: usize,
    wanted: Cell<bool>,
    list: Rc<RefCell<Vec<u32>>>,
}

impl Account {
    /// For the unary calls of a connection.
    pub(crate) fn shared(total: Rc<Cell<usize>>) -> Rc<Account> {
        Rc::new(Account { unsent: Cell::new(0), total, relief: None })
    }

    /// For one stream: once `want_relief` was called and not more than `low` bytes are unsent, `slot` is put on `list`.
    pub(crate) fn of_stream(
        total: Rc<Cell<usize>>,
        slot: u32,
        low: usize,
        list: Rc<RefCell<Vec<u32>>>,
    ) -> Rc<Account> {
        let relief = Relief { slot, low, wanted: Cell::new(false), list };
        Rc::new(Account { unsent: Cell::new(0), total, relief: Some(relief) })
    }

    pub(crate) fn unsent(&self) -> usize {
        self.unsent.get()
    }

    pub(crate) fn want_relief(&self) {
        if let Some(relief) = &self.relief {
            relief.wanted.set(true);
            self.relieve();
        }
    }

    fn add(&self, bytes: usize) {
        self.unsent.set(self.unsent.get() + bytes);
        self.total.set(self.total.get() + bytes);
    }

    fn take(&self, bytes: usize) {
        self.unsent.set(self.unsent.get() - bytes);
        self.total.set(self.total.get() - bytes);
        self.relieve();
    }

    fn relieve(&self) {
        if let Some(relief) = &self.relief
            && relief.wanted.get()
            && self.unsent.get() <= relief.low
        {
            relief.wanted.set(false);
            relief.list.borrow_mut().push(relief.slot);
        }
    }
}

/// One frame as h2 sends it. Bytes count as unsent until h2 has copied or written them, or dropped the frame.
pub(crate) struct Payload {
    head: Bytes,
    tail: Bytes,
    account: Rc<Account>,
}

impl Payload {
    pub(crate) fn new(frame: Frame, account: &Rc<Account>) -> Payload {
        let (head, tail) = frame.into_parts();
        account.add(head.len() + tail.len());
        Payload { head, tail, account: account.clone() }
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        if self.head.is_empty() { &self.tail } else { &self.head }
    }

    fn advance(&mut self, count: usize) {
        let of_head = count.min(self.head.len());
        self.head.advance(of_head);
        self.tail.advance(count - of_head);
        self.account.take(count);
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let left = self.remaining();
        if left > 0 {
            self.account.take(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn accounts_follow_sending_and_dropping() {
        let total = Rc::new(Cell::new(0));
        let list = Rc::new(RefCell::new(Vec::new()));
        let account = Account::of_stream(total.clone(), 7, 4, list.clone());
        let mut arena = BytesMut::new();
        let frame = |arena: &mut BytesMut| Frame::build(arena).finish_with(Bytes::from_static(b"12345"));
        let mut first = Payload::new(frame(&mut arena), &account);
        let second = Payload::new(frame(&mut arena), &account);
        assert_eq!((account.unsent(), total.get()), (20, 20));
        account.want_relief();
        let mut sent = Vec::new();
        while first.has_remaining() {
            let chunk = first.chunk().len().min(2);
            sent.extend_from_slice(&first.chunk()[..chunk]);
            first.advance(chunk);
        }
        assert_eq!(sent, b"\0\0\0\0\x0512345");
        assert!(list.borrow().is_empty(), "10 bytes are still unsent");
        drop(second);
        assert_eq!((account.unsent(), total.get()), (0, 0));
        assert_eq!(*list.borrow(), [7]);
    }
}
