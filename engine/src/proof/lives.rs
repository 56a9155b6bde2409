//! The loop of a programme of power cuts: a recorded run is cut at every moment, whatever may be left is opened, and
//! one survivor of some moments goes on and is cut again.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::disk::{Image, Medium, Op};
use super::states::{Amount, moments};

/// Crashes in a row.
pub(crate) const DEPTH: usize = 3;

/// States tried, by how many crashes came before.
pub(crate) type Tried = [u64; DEPTH];

/// A run on a recording disk, and what it stored.
pub(crate) struct Recorded<S> {
    pub(crate) start: Image,
    pub(crate) journal: Vec<Op>,
    pub(crate) states: S,
}

/// What is cut, and what must be found.
pub(crate) trait Life {
    /// What was stored, by number.
    type States;

    /// Images tried of a moment of the first run.
    const FIRST: Amount;
    /// Of so many survivors one goes on.
    const GOES_ON: u32;

    /// Opens what is left, the `at`-th of its moment, and says which of `allowed` it is.
    fn recover(
        medium: &mut Medium,
        image: &Image,
        states: &Self::States,
        allowed: &[u64],
        at: usize,
    ) -> Result<u64, String>;

    /// Goes on with a survivor, which is state `number` of `states`.
    fn again(
        random: &mut ChaCha8Rng,
        image: Image,
        number: u64,
        states: &Self::States,
    ) -> Result<Recorded<Self::States>, String>;
}

/// Cuts a recorded run at every moment.
pub(crate) fn crash<L: Life>(
    random: &mut ChaCha8Rng,
    medium: &mut Medium,
    run: &Recorded<L::States>,
    depth: usize,
    tried: &mut Tried,
) -> Result<(), String> {
    let amount = [L::FIRST, Amount { all_up_to: 3, most: 6 }, Amount { all_up_to: 2, most: 4 }][depth];
    moments(run.start.clone(), &run.journal, |moment| {
        let allowed = moment.checkpoints();
        let survives = random.random_range(0..amount.most / 2);
        let (mut at, mut survivor) = (0, None);
        let mut chances = random.clone();
        tried[depth] += moment
            .images(&mut chances, amount, |image| {
                let number = L::recover(medium, image, &run.states, &allowed, at)?;
                if at <= survives {
                    survivor = Some((image.clone(), number));
                }
                at += 1;
                Ok::<_, String>(())
            })
            .map_err(|e| format!("depth {}, moment {}: {e}", depth + 1, moment.number))?
            as u64;
        *random = chances;
        let goes_on = depth + 1 < DEPTH && random.random_range(0..L::GOES_ON) == 0;
        if let Some((image, number)) = survivor.filter(|_| goes_on) {
            let again = L::again(random, image, number, &run.states).map_err(|e| format!("again: {e}"))?;
            crash::<L>(random, medium, &again, depth + 1, tried).map_err(|e| format!("again: {e}"))?;
        }
        Ok(())
    })
}

/// The sums of several runs.
pub(crate) fn sum(tried: &[Tried]) -> Tried {
    std::array::from_fn(|depth| tried.iter().map(|tried| tried[depth]).sum())
}
