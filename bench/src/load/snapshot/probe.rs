//! Before anything is loaded: does the server stream snapshots at all?

use std::time::{Duration, Instant};

use crate::client::{Client, Events, Lean, Method, Outcome, Target, Until};
use crate::error::{Error, Result};

/// How long the first bytes may take; a load waits longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks every endpoint for the first bytes of one.
///
/// # Errors
/// [`Error::Usage`] with the words of a server that has none to give.
pub(in crate::load) fn probe(target: &Target) -> Result<()> {
    let mut client = Lean::connect(target, target.endpoints.len())?;
    let mut events = Events::new();
    for connection in 0..target.endpoints.len() {
        let stream = client.open(connection, Method::Snapshot, connection as u64);
        client.send(stream, &[]);
        client.finish(stream);
        let by = Instant::now() + PATIENCE;
        while Instant::now() < by {
            let turned = client.turn(Until::Time(by), &mut events);
            turned.map_err(|error| Error::Wrong(format!("cannot wait for answers: {error}")))?;
            match events.iter().find(|event| event.connection == connection).map(|event| event.outcome) {
                None => {}
                Some(Outcome::Failed(failure)) => {
                    let name = target.name(connection);
                    let what = "it streams no snapshots to this client: give a server that does, and --user if it wants one";
                    return Err(Error::Usage(format!("{name}: {failure}; {what}")));
                }
                Some(_) => break,
            }
        }
        client.cancel(stream);
    }
    Ok(())
}
