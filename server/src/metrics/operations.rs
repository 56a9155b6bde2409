//! Operations on keys, counted as etcd does: per transaction of its store, each of which may be several operations.
//!
//! `apply` gathers those of a batch and reports them once; a read is reported by itself. Every report is a few relaxed
//! additions, without any look-up of a label.

use super::Families;

/// What one transaction of the store has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operations {
    /// Ranges read, those for a compare or a previous value included.
    pub(crate) ranges: u64,
    pub(crate) puts: u64,
    /// Deletes asked for, whether of one key or of many, and whether there was any.
    pub(crate) deletes: u64,
    /// Bytes of the keys and values put.
    pub(crate) put_bytes: u64,
}

/// What transactions have done that nobody was told about yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Executed {
    operations: Operations,
    /// Transactions of more than one operation.
    txns: u64,
}

impl Executed {
    /// Adds a transaction.
    pub(crate) fn add(&mut self, one: Operations) {
        let Operations { ranges, puts, deletes, put_bytes } = one;
        self.txns += u64::from(ranges + puts + deletes > 1);
        self.operations.ranges += ranges;
        self.operations.puts += puts;
        self.operations.deletes += deletes;
        self.operations.put_bytes += put_bytes;
    }

    /// Brings it into the metrics, and starts again at nothing.
    pub(crate) fn report(&mut self, families: &Families) {
        let Executed { operations, txns } = std::mem::take(self);
        for (counter, count) in [
            (&families.mvcc_range_total, operations.ranges),
            (&families.mvcc_put_total, operations.puts),
            (&families.mvcc_delete_total, operations.deletes),
            (&families.mvcc_txn_total, txns),
        ] {
            if count > 0 {
                counter.inc_by(count);
            }
        }
        if operations.put_bytes > 0 {
            families.debugging_mvcc_total_put_size_in_bytes.add(operations.put_bytes.cast_signed());
        }
    }
}

impl Operations {
    /// One transaction, reported by itself.
    pub(crate) fn report(self, families: &Families) {
        let mut executed = Executed::default();
        executed.add(self);
        executed.report(families);
    }
}
