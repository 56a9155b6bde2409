//! What a watched put's value begins with: which put it is.

/// Length of a stamp: the run's number and the put's.
pub(crate) const BYTES: usize = 16;

/// Writes a stamp over the beginning of a value.
///
/// # Panics
/// When the value is shorter than a stamp; plans allow no such values.
pub(super) fn write(run: u64, number: u64, value: &mut [u8]) {
    value[..8].copy_from_slice(&run.to_le_bytes());
    value[8..BYTES].copy_from_slice(&number.to_le_bytes());
}

/// The number of the put whose value this is, if it is one of this run.
pub(super) fn read(run: u64, value: &[u8]) -> Option<u64> {
    let (head, number) = value.get(..BYTES)?.split_at(8);
    (head == run.to_le_bytes())
        .then(|| u64::from_le_bytes(number.try_into().expect("the second half of sixteen")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_of_the_same_run_are_read() {
        let mut value = vec![9; 20];
        write(5, 77, &mut value);
        assert_eq!((read(5, &value), read(6, &value), read(5, &value[..15])), (Some(77), None, None));
        assert_eq!(value[BYTES..], [9; 4]);
    }
}
