//! How the program ends: etcdctl's exit codes, and the text on stderr that goes with them.

/// etcdctl's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    Success = 0,
    Error = 1,
    BadConnection = 2,
    /// A line of a txn or of an interactive watch makes no sense.
    InvalidInput = 3,
    /// A flag exists but its value is not supported.
    BadFeature = 4,
    Interrupted = 5,
    BadArgs = 128,
}

/// The end of the program before its time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: Code,
    /// Goes to stderr as it is.
    pub(crate) text: String,
}

impl Exit {
    /// With the line `Error: <message>`.
    pub(crate) fn new(code: Code, message: impl std::fmt::Display) -> Exit {
        Exit { code, text: format!("Error: {message}\n") }
    }

    pub(crate) fn bad_args(message: impl std::fmt::Display) -> Exit {
        Exit::new(Code::BadArgs, message)
    }

    /// Everything there is to say was said.
    pub(crate) fn silent(code: Code) -> Exit {
        Exit { code, text: String::new() }
    }
}
