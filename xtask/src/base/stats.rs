//! Figures of several runs as one.

/// The percentile of values in ascending order, by the nearest rank, so it is one of them. None if there are none.
pub(crate) fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// A figure without its fraction. Negative figures and NaN become 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the language has no other conversion; this one saturates"
)]
pub(crate) fn whole(figure: f64) -> u64 {
    figure as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        assert_eq!(percentile::<u64>(&[], 50), None);
        assert_eq!(percentile(&[7], 90), Some(7));
        assert_eq!(percentile(&[1, 2, 3], 50), Some(2));
        let ten: Vec<u64> = (1..=10).collect();
        let found = [0, 50, 90, 100].map(|percent| percentile(&ten, percent));
        assert_eq!(found, [1, 5, 9, 10].map(Some));
        assert_eq!([whole(2.9), whole(-1.0), whole(f64::NAN)], [2, 0, 0]);
    }
}
