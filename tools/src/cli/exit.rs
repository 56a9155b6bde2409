//! How a program ends: etcd's exit codes, and the text on stderr that goes with them.

/// etcd's codes, and one of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Success,
    Error,
    BadConnection,
    /// Of `check` and `inspect`: nothing could be told, so that 1 means damage and nothing else.
    Undecided,
    /// A line of a txn or of an interactive watch makes no sense.
    InvalidInput,
    /// A flag exists but its value is not supported.
    BadFeature,
    Interrupted,
    BadArgs,
}

impl Code {
    /// As the shell sees it.
    pub(crate) fn number(self) -> u8 {
        match self {
            Code::Success => 0,
            Code::Error => 1,
            Code::BadConnection | Code::Undecided => 2,
            Code::InvalidInput => 3,
            Code::BadFeature => 4,
            Code::Interrupted => 5,
            Code::BadArgs => 128,
        }
    }
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
