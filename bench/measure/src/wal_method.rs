//! A durable-write method of the log as a flag names it.

use clap::ValueEnum;

/// The log's durable-write methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WalMethod {
    /// The log's own choice.
    Auto,
    /// io_uring, one O_DIRECT write with DSYNC.
    Ring,
    /// O_DIRECT and RWF_DSYNC.
    DirectDsync,
    /// RWF_DSYNC through the page cache.
    Dsync,
    /// write, then fdatasync.
    Fdatasync,
}

impl From<wal::Method> for WalMethod {
    fn from(method: wal::Method) -> WalMethod {
        match method {
            wal::Method::Auto => WalMethod::Auto,
            wal::Method::Ring => WalMethod::Ring,
            wal::Method::DirectDsync => WalMethod::DirectDsync,
            wal::Method::Dsync => WalMethod::Dsync,
            wal::Method::Fdatasync => WalMethod::Fdatasync,
        }
    }
}

impl WalMethod {
    /// As the command line knows it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// As the log knows it.
    pub fn method(self) -> wal::Method {
        match self {
            WalMethod::Auto => wal::Method::Auto,
            WalMethod::Ring => wal::Method::Ring,
            WalMethod::DirectDsync => wal::Method::DirectDsync,
            WalMethod::Dsync => wal::Method::Dsync,
            WalMethod::Fdatasync => wal::Method::Fdatasync,
        }
    }
}
