//! A member in a process of its own, to be killed, and a look at it afterwards.

use clap::Args;

use crate::error::Result;

/// Options of the hidden `storage-child`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChildArguments {}

pub(crate) fn run_child(_arguments: &ChildArguments) -> Result<()> {
    Ok(())
}
