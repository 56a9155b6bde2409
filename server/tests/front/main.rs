//! The front end against real clients: tonic, a raw HTTP/2 client for odd frames, raw sockets for HTTP/1.1.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod calls;
mod client;
mod echo;
mod floods;
mod frames;
mod plain;
mod stop;
mod streams;
mod typed;
