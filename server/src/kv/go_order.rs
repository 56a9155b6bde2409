//! The order in which etcd leaves rows whose sort keys are equal.
//!
//! etcd sorts a range with Go's `sort.Sort`, which is not stable: rows with equal keys come out in an order that only
//! depends on their number and the comparisons, so clients have always seen the same one. To show them that order, this
//! is the same algorithm with the same constants: pattern-defeating quicksort (Orson Peters, arXiv 2106.05123) with
//! insertion sort up to 12 rows, a ninther from 50 on, and heap sort after too many bad pivots.

/// Sorts by `less` as Go does.
pub(super) fn sort<T>(rows: &mut [T], less: impl Fn(&T, &T) -> bool) {
    let bad_pivots_allowed = usize::BITS - rows.len().leading_zeros();
    Sorter { less }.quicksort(rows, None, bad_pivots_allowed);
}

const INSERTION: usize = 12;
const NINTHER: usize = 50;
/// Comparisons that exchange, in a ninther whose rows are all in descending order.
const ALL_EXCHANGED: usize = 12;
const PARTIAL_STEPS: usize = 5;

struct Sorter<F> {
    less: F,
}

/// What choosing a pivot told about the rows.
#[derive(PartialEq, Eq)]
enum Looks {
    Ascending,
    Descending,
    Mixed,
}

impl<F> Sorter<F> {
    fn quicksort<'r, T>(&self, mut rows: &'r mut [T], mut before: Option<&'r T>, mut bad_pivots_allowed: u32)
    where
        F: Fn(&T, &T) -> bool,
    {
        let (mut balanced, mut partitioned) = (true, true);
        loop {
            let length = rows.len();
            if length <= INSERTION {
                return self.insertion(rows);
            }
            if bad_pivots_allowed == 0 {
                return self.heap(rows);
            }
            if !balanced {
                scatter(rows);
                bad_pivots_allowed -= 1;
            }
            let (mut pivot, mut looks) = self.choose_pivot(rows);
            if looks == Looks::Descending {
                rows.reverse();
                pivot = length - 1 - pivot;
                looks = Looks::Ascending;
            }
            if balanced && partitioned && looks == Looks::Ascending && self.nearly_sorted(rows) {
                return;
            }
            // Rows are never below the one before them; one that is not above it either starts a run of equals.
            if before.is_some_and(|before| !(self.less)(before, &rows[pivot])) {
                let equal = self.partition_equal(rows, pivot);
                let (done, rest) = std::mem::take(&mut rows).split_at_mut(equal);
                (before, rows) = (done.last(), rest);
                continue;
            }
            let middle;
            (middle, partitioned) = self.partition(rows, pivot);
            let (left, rest) = std::mem::take(&mut rows).split_at_mut(middle);
            // Go counts the pivot to the right side.
            let left_is_smaller = left.len() < rest.len();
            balanced = left.len().min(rest.len()) >= length / 8;
            let (pivot, right) = rest.split_first_mut().expect("the pivot is one of the rows");
            if left_is_smaller {
                self.quicksort(left, before, bad_pivots_allowed);
                (before, rows) = (Some(&*pivot), right);
            } else {
                self.quicksort(right, Some(pivot), bad_pivots_allowed);
                rows = left;
            }
        }
    }

    fn insertion<T>(&self, rows: &mut [T])
    where
        F: Fn(&T, &T) -> bool,
    {
        for end in 1..rows.len() {
            self.sink_left(rows, end);
        }
    }

    /// Moves a row to the left past all that it is less than.
    fn sink_left<T>(&self, rows: &mut [T], mut at: usize)
    where
        F: Fn(&T, &T) -> bool,
    {
        while at > 0 && (self.less)(&rows[at], &rows[at - 1]) {
            rows.swap(at, at - 1);
            at -= 1;
        }
    }

    /// Tries to finish rows that seem sorted with a few moves; true if that was enough.
    fn nearly_sorted<T>(&self, rows: &mut [T]) -> bool
    where
        F: Fn(&T, &T) -> bool,
    {
        let mut at = 1;
        for _ in 0..PARTIAL_STEPS {
            while at < rows.len() && !(self.less)(&rows[at], &rows[at - 1]) {
                at += 1;
            }
            if at == rows.len() {
                return true;
            }
            if rows.len() < NINTHER {
                return false;
            }
            rows.swap(at, at - 1);
            if at >= 2 {
                self.sink_left(rows, at - 1);
            }
            let mut right = at + 1;
            while right < rows.len() && (self.less)(&rows[right], &rows[right - 1]) {
                rows.swap(right, right - 1);
                right += 1;
            }
        }
        false
    }

    fn choose_pivot<T>(&self, rows: &[T]) -> (usize, Looks)
    where
        F: Fn(&T, &T) -> bool,
    {
        let quarter = rows.len() / 4;
        let mut candidates = [quarter, 2 * quarter, 3 * quarter];
        let mut exchanged = 0;
        if rows.len() >= NINTHER {
            for at in &mut candidates {
                *at = self.median(rows, [*at - 1, *at, *at + 1], &mut exchanged);
            }
        }
        let pivot = self.median(rows, candidates, &mut exchanged);
        let looks = match exchanged {
            0 => Looks::Ascending,
            ALL_EXCHANGED => Looks::Descending,
            _ => Looks::Mixed,
        };
        (pivot, looks)
    }

    fn median<T>(&self, rows: &[T], [mut a, mut b, mut c]: [usize; 3], exchanged: &mut usize) -> usize
    where
        F: Fn(&T, &T) -> bool,
    {
        let mut order = |low: &mut usize, high: &mut usize| {
            if (self.less)(&rows[*high], &rows[*low]) {
                std::mem::swap(low, high);
                *exchanged += 1;
            }
        };
        order(&mut a, &mut b);
        order(&mut b, &mut c);
        order(&mut a, &mut b);
        b
    }

    /// Splits into rows less than the pivot, the pivot, and the others. Returns its place, and whether nothing had to
    /// move for it.
    fn partition<T>(&self, rows: &mut [T], pivot: usize) -> (usize, bool)
    where
        F: Fn(&T, &T) -> bool,
    {
        rows.swap(0, pivot);
        let (mut low, mut high) = (1, rows.len() - 1);
        let mut moved = false;
        loop {
            while low <= high && (self.less)(&rows[low], &rows[0]) {
                low += 1;
            }
            while low <= high && !(self.less)(&rows[high], &rows[0]) {
                high -= 1;
            }
            if low > high {
                rows.swap(high, 0);
                return (high, !moved);
            }
            rows.swap(low, high);
            moved = true;
            low += 1;
            high -= 1;
        }
    }

    /// The same for rows none of which is less than the pivot: those equal to it first. Returns how many.
    fn partition_equal<T>(&self, rows: &mut [T], pivot: usize) -> usize
    where
        F: Fn(&T, &T) -> bool,
    {
        rows.swap(0, pivot);
        let (mut low, mut high) = (1, rows.len() - 1);
        loop {
            while low <= high && !(self.less)(&rows[0], &rows[low]) {
                low += 1;
            }
            while low <= high && (self.less)(&rows[0], &rows[high]) {
                high -= 1;
            }
            if low > high {
                return low;
            }
            rows.swap(low, high);
            low += 1;
            high -= 1;
        }
    }

    fn heap<T>(&self, rows: &mut [T])
    where
        F: Fn(&T, &T) -> bool,
    {
        for root in (0..=(rows.len() - 1) / 2).rev() {
            self.sift_down(rows, root);
        }
        for end in (0..rows.len()).rev() {
            rows.swap(0, end);
            self.sift_down(&mut rows[..end], 0);
        }
    }

    fn sift_down<T>(&self, rows: &mut [T], mut root: usize)
    where
        F: Fn(&T, &T) -> bool,
    {
        loop {
            let mut child = 2 * root + 1;
            if child >= rows.len() {
                return;
            }
            if child + 1 < rows.len() && (self.less)(&rows[child], &rows[child + 1]) {
                child += 1;
            }
            if !(self.less)(&rows[root], &rows[child]) {
                return;
            }
            rows.swap(root, child);
            root = child;
        }
    }
}

/// Breaks a pattern that made a bad pivot: three rows in the middle change places with pseudo-random ones.
fn scatter<T>(rows: &mut [T]) {
    let length = rows.len();
    let mask = (1u64 << (usize::BITS - length.leading_zeros())) - 1;
    let mut random = length as u64;
    let middle = length / 4 * 2;
    for at in middle - 1..=middle + 1 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let other = (random & mask) as usize;
        rows.swap(at, if other >= length { other - length } else { other });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows made of a small generator that Go's test program shares: (key, place).
    fn rows(length: usize, keys: u64, seed: u64) -> Vec<(u64, usize)> {
        let mut state = seed;
        let next = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *state >> 33
        };
        (0..length).map(|place| (next(&mut state) % keys, place)).collect()
    }

    fn fingerprint(rows: &[(u64, usize)]) -> u64 {
        rows.iter().fold(0, |hash: u64, row| hash.wrapping_mul(1_000_003).wrapping_add(row.1 as u64))
    }

    #[test]
    fn sorts() {
        for length in 0..400 {
            for keys in [1, 2, 5, 1000] {
                let mut sorted = rows(length, keys, length as u64);
                sort(&mut sorted, |a, b| a.0 < b.0);
                assert!(sorted.is_sorted_by_key(|row| row.0), "length {length} keys {keys}");
                let mut places: Vec<_> = sorted.iter().map(|row| row.1).collect();
                places.sort_unstable();
                assert!(places.into_iter().eq(0..length));
            }
        }
    }

    #[test]
    fn equal_rows_come_out_as_go_leaves_them() {
        // From Go 1.26's sort.Sort over the same rows: number of rows, number of keys, fingerprint of the places.
        let known: &[(usize, u64, u64)] = &[
            (5, 2, 1000011000043000060),
            (12, 3, 2089142598976814794),
            (13, 3, 6185857949318208080),
            (20, 4, 17741336185006829654),
            (30, 1, 17172478072341063711),
            (49, 7, 2931910212066194128),
            (50, 7, 11035015389764410783),
            (51, 3, 1907669520134235947),
            (100, 10, 7943785171592278968),
            (200, 2, 1547732828036688156),
            (300, 17, 3789908599803742100),
            (1000, 40, 14266926525661350676),
            (1000, 5, 8206235032972059300),
            (5000, 100, 13089142026385196856),
            (5000, 1, 10130037222712000036),
            (20000, 3, 11169601965556824094),
        ];
        for (length, keys, expected) in known {
            let mut sorted = rows(*length, *keys, 42);
            sort(&mut sorted, |a, b| a.0 < b.0);
            assert_eq!(fingerprint(&sorted), *expected, "{length} rows, {keys} keys");
            // Descending, as sort.Reverse does it.
            let mut reversed = rows(*length, *keys, 42);
            sort(&mut reversed, |a, b| b.0 < a.0);
            assert!(reversed.is_sorted_by(|a, b| a.0 >= b.0));
        }
    }
}
