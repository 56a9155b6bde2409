//! Linearizable reads that wait in the driver: one round at a time, for everybody who waited when it began.

use std::collections::VecDeque;
use std::mem;

use crate::node::Node;
use crate::reads::ReadCall;
use crate::ready::ReadOutcome;
use crate::state_machine::Refused;

#[derive(Default)]
pub(crate) struct WaitingReads {
    /// For the next round, with the tick at which each came.
    gathered: Vec<(ReadCall, u64)>,
    /// The round under way.
    round: Vec<(ReadCall, u64)>,
    under_way: bool,
    rounds: u64,
    /// Confirmed; they wait for this index to be applied.
    confirmed: VecDeque<(u64, ReadCall)>,
}

impl WaitingReads {
    pub(crate) fn len(&self) -> usize {
        self.gathered.len() + self.round.len() + self.confirmed.len()
    }

    pub(crate) fn add(&mut self, calls: impl IntoIterator<Item = ReadCall>, tick: u64, limit: usize) {
        for call in calls {
            if self.len() < limit {
                self.gathered.push((call, tick));
            } else {
                call(Err(Refused::TooMany));
            }
        }
    }

    /// Begins a round if there is none and somebody waits for it.
    pub(crate) fn begin(&mut self, node: &mut Node) {
        if !self.under_way && !self.gathered.is_empty() {
            mem::swap(&mut self.gathered, &mut self.round);
            self.under_way = true;
            self.rounds += 1;
            node.read_round(self.rounds);
        }
    }

    pub(crate) fn ended(&mut self, outcome: ReadOutcome) {
        if !self.under_way || outcome.round != self.rounds {
            return;
        }
        self.under_way = false;
        match outcome.index {
            Ok(index) => self.confirmed.extend(self.round.drain(..).map(|(call, _)| (index, call))),
            // There may be one soon.
            Err(Refused::NoLeader) => self.gathered.append(&mut self.round),
            Err(why) => self.round.drain(..).for_each(|(call, _)| call(Err(why))),
        }
    }

    /// Whether a round could be begun that was not worth trying before: a leader is known.
    pub(crate) fn want_round(&self) -> bool {
        !self.under_way && !self.gathered.is_empty()
    }

    /// Everything up to this index is applied and published.
    pub(crate) fn published(&mut self, applied: u64) {
        while let Some((_, call)) = self.confirmed.pop_front_if(|(index, _)| *index <= applied) {
            call(Ok(applied));
        }
    }

    /// Gives up on those that came before this tick and have not even begun a round.
    pub(crate) fn expire(&mut self, before: u64) {
        let late = self.gathered.extract_if(.., |(_, tick)| *tick < before);
        late.for_each(|(call, _)| call(Err(Refused::NoLeader)));
    }

    pub(crate) fn refuse_all(&mut self, why: Refused) {
        let waiting = self.gathered.drain(..).chain(self.round.drain(..)).map(|(call, _)| call);
        waiting.chain(self.confirmed.drain(..).map(|(_, call)| call)).for_each(|call| call(Err(why)));
    }
}
