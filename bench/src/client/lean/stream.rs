//! One call: what is still to be sent of it, and what has come of its answer.

use super::super::Method;
use super::super::events::One;
use super::super::failure::Failure;

/// Length of what stands before each gRPC message: a flag and the message's length.
pub(super) const PREFIX: usize = 5;
/// No answer is larger; etcd sends at most 2 GiB, which nobody loads a server with.
const MOST_MESSAGE: usize = 512 << 20;

/// How many messages go each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One each way.
    Unary,
    /// Any number.
    Streaming,
}

/// A call from its first frame to its last.
pub(super) struct Stream {
    pub(super) tag: u64,
    pub(super) method: Method,
    pub(super) shape: Shape,
    /// Its headers wait until the server allows one more stream.
    pub(super) waits: bool,
    /// How much the server takes of it.
    pub(super) send_window: i64,
    /// How much the server may send before it is told of more.
    pub(super) receive_window: i64,
    /// Messages with their prefixes, and how much of them went out.
    pub(super) unsent: Vec<u8>,
    pub(super) sent: usize,
    /// A window holds it back, and it stands in the connection's list of those.
    pub(super) is_blocked: bool,
    /// After `unsent` this side has nothing more to say.
    pub(super) ends: bool,
    /// It has said so.
    pub(super) ended: bool,
    /// The answer's headers have come.
    pub(super) headed: bool,
    /// Of the answer, what is not yet handed over.
    pub(super) body: Vec<u8>,
}

/// What the headers or trailers of an answer say.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u32>,
    pub(super) grpc_message: Option<Vec<u8>>,
    pub(super) is_grpc: bool,
    /// A value that must be a number is none.
    pub(super) broken: bool,
}

impl Head {
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b":status" => self.broken |= !set(&mut self.status, value),
            b"grpc-status" => self.broken |= !set(&mut self.grpc_status, value),
            b"grpc-message" => self.grpc_message = Some(value.to_vec()),
            b"content-type" => self.is_grpc = value.starts_with(b"application/grpc"),
            _ => {}
        }
    }

    /// The headers an answer begins with: whether they allow to go on.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.status {
            _ if self.broken => Err(Failure::Invalid("a status that is not a number")),
            None => Err(Failure::Invalid("headers without :status")),
            Some(200) if self.is_grpc => Ok(()),
            Some(200) => Err(Failure::Invalid("its content type is not application/grpc")),
            Some(other) => Err(Failure::Http(other)),
        }
    }

    /// The trailers an answer ends with.
    pub(super) fn result(self) -> Result<(), Failure> {
        match self.grpc_status {
            _ if self.broken => Err(Failure::Invalid("a status that is not a number")),
            Some(0) => Ok(()),
            Some(code) => {
                let message = percent_decoded(&self.grpc_message.unwrap_or_default());
                Err(Failure::Status { code, message })
            }
            None => Err(Failure::Invalid("it ends without grpc-status")),
        }
    }
}

fn set<T: std::str::FromStr>(into: &mut Option<T>, value: &[u8]) -> bool {
    *into = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    into.is_some()
}

/// gRPC's coding of messages in headers; what is no code stands for itself.
fn percent_decoded(coded: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(coded.len());
    let mut rest = coded;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Appends a message as gRPC frames it. Requests are never compressed.
pub(super) fn frame(message: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(message.len()).expect("no request comes near 4 GiB");
    out.push(0);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
}

/// The first message of `rest`, which it is taken from; none as long as it is not whole.
fn take<'b>(rest: &mut &'b [u8]) -> Result<Option<&'b [u8]>, Failure> {
    let Some((prefix, after)) = rest.split_first_chunk::<PREFIX>() else { return Ok(None) };
    if prefix[0] != 0 {
        return Err(Failure::Invalid("a compressed message, which was not asked for"));
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if length > MOST_MESSAGE {
        return Err(Failure::Invalid("a message of more than 512 MiB"));
    }
    let Some((message, after)) = after.split_at_checked(length) else { return Ok(None) };
    *rest = after;
    Ok(Some(message))
}

impl Stream {
    /// Takes in bytes of the answer. Messages of a stream are handed over at once.
    pub(super) fn receive(&mut self, bytes: &[u8], mut message: impl FnMut(&[u8])) -> Result<(), Failure> {
        if self.shape == Shape::Unary {
            if self.body.len() + bytes.len() > MOST_MESSAGE + PREFIX {
                return Err(Failure::Invalid("a message of more than 512 MiB"));
            }
            self.body.extend_from_slice(bytes);
            return Ok(());
        }
        // Most often whole messages come in a frame of their own.
        let direct = self.body.is_empty();
        if !direct {
            self.body.extend_from_slice(bytes);
        }
        let all = if direct { bytes } else { &self.body[..] };
        let mut rest = all;
        while let Some(whole) = take(&mut rest)? {
            message(whole);
        }
        let (used, left) = (all.len() - rest.len(), rest.len());
        if direct {
            self.body.extend_from_slice(&bytes[bytes.len() - left..]);
        } else {
            self.body.drain(..used);
        }
        Ok(())
    }

    /// The answer has come to its end with status 0: hands over what that means.
    pub(super) fn succeed(&self, one: One<'_>) {
        match self.whole() {
            Ok(Some(message)) => one.answer(message),
            Ok(None) => one.ended(),
            Err(failure) => one.failed(failure),
        }
    }

    fn whole(&self) -> Result<Option<&[u8]>, Failure> {
        let mut rest = &self.body[..];
        let message = match self.shape {
            Shape::Unary => take(&mut rest)?,
            Shape::Streaming => None,
        };
        match (self.shape, message, rest.is_empty()) {
            (_, _, false) if message.is_some() => Err(Failure::Invalid("more than one message")),
            (_, _, false) => Err(Failure::Invalid("it ends within a message")),
            (Shape::Unary, None, true) => Err(Failure::Invalid("status 0 without a message")),
            (_, message, true) => Ok(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_statuses_are_decoded() {
        assert_eq!(
            percent_decoded(b"etcdserver: %22x%22%0A%e2%82%ac 100%"),
            "etcdserver: \"x\"\n\u{20ac} 100%"
        );
        assert_eq!(percent_decoded(b"%zz%4"), "%zz%4");
    }

    #[test]
    fn heads_say_what_is_wrong() {
        let head = |fields: &[(&str, &str)]| {
            let mut head = Head::default();
            for (name, value) in fields {
                head.field(name.as_bytes(), value.as_bytes());
            }
            head
        };
        let grpc = ("content-type", "application/grpc+proto");
        assert_eq!(head(&[(":status", "200"), grpc]).check(), Ok(()));
        assert_eq!(head(&[(":status", "503"), grpc]).check(), Err(Failure::Http(503)));
        for wrong in [&[grpc][..], &[(":status", "2x0"), grpc], &[(":status", "200")]] {
            assert!(matches!(head(wrong).check(), Err(Failure::Invalid(_))), "{wrong:?}");
        }
        assert_eq!(head(&[("grpc-status", "0")]).result(), Ok(()));
        let refused = head(&[("grpc-status", "8"), ("grpc-message", "no%20room")]).result();
        assert_eq!(refused, Err(Failure::Status { code: 8, message: "no room".to_owned() }));
        assert!(matches!(head(&[("grpc-status", "-1")]).result(), Err(Failure::Invalid(_))));
        assert!(matches!(head(&[]).result(), Err(Failure::Invalid(_))));
    }
}
