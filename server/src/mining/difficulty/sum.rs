//! Difficulties added up without losing a digit: what miners are paid by.

use core::fmt;

use ruint::aliases::U512;

use super::{Difficulty, EXPONENT_MAX};

/// A sum of difficulties, exact: in units of 10^-30, the last place that a difficulty may have.
/// 512 bits hold more shares of the highest difficulty than can ever be found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DifficultySum(U512);

impl DifficultySum {
    /// Adds one difficulty.
    pub fn add(&mut self, difficulty: Difficulty) {
        let places = difficulty.exponent + EXPONENT_MAX;
        assert!(places >= 0, "no difficulty has more places than the units");
        let scale = U512::from(10).pow(U512::from(places.unsigned_abs()));
        self.0 += U512::from(difficulty.digits) * scale;
    }
}

impl fmt::Display for DifficultySum {
    /// The shortest exact plain decimal.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = U512::from(10).pow(U512::from(EXPONENT_MAX.unsigned_abs()));
        let (whole, rest) = self.0.div_rem(one);
        if rest == U512::ZERO {
            return write!(formatter, "{whole}");
        }
        let places = EXPONENT_MAX.unsigned_abs() as usize;
        let rest = format!("{:0>places$}", rest.to_string());
        write!(formatter, "{whole}.{}", rest.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(texts: &[&str]) -> String {
        let mut sum = DifficultySum::default();
        for text in texts {
            sum.add(text.parse().expect(text));
        }
        sum.to_string()
    }

    #[test]
    fn tenths_add_up_to_one() {
        assert_eq!(sum(&[]), "0");
        assert_eq!(sum(&["0.1"; 10]), "1");
        assert_eq!(sum(&["0.1", "0.2"]), "0.3");
        assert_eq!(sum(&["1e-30", "1e30"]), format!("1{}.{}1", "0".repeat(30), "0".repeat(29)));
        assert_eq!(sum(&["12.5", "0.0000000004656542373"]), "12.5000000004656542373");
    }

    proptest! {
        #[test]
        fn one_alone_is_itself(digits in 1_u64.., exponent in -11_i32..=11) {
            let difficulty = Difficulty::normalised(digits, exponent);
            let mut sum = DifficultySum::default();
            sum.add(difficulty);
            prop_assert_eq!(sum.to_string(), difficulty.to_string());
        }
    }
}
