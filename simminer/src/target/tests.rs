//! Known targets, the law of the division, and odd texts.

use proptest::prelude::*;

use super::*;

fn target(text: &str) -> String {
    text.parse::<Difficulty>().unwrap().target().to_string()
}

#[test]
fn known_difficulties_give_known_targets() {
    // Worked out with rational numbers outside of this program.
    let known = [
        ("1", "00000000ffff0000000000000000000000000000000000000000000000000000"),
        ("0.5", "00000001fffe0000000000000000000000000000000000000000000000000000"),
        ("1e-7", "009895e769800000000000000000000000000000000000000000000000000000"),
        ("4.656542373e-10", "7fffff006b1287956f27016105af9f89dac58c1eb7595f5896a025396cf1f0b5"),
        ("1152921504606846976", "00000000000000000000000ffff0000000000000000000000000000000000000"),
        ("1.5", "00000000aaaa0000000000000000000000000000000000000000000000000000"),
    ];
    for (difficulty, expected) in known {
        assert_eq!(target(difficulty), expected, "difficulty {difficulty}");
    }
}

#[test]
fn one_number_in_many_forms_is_one_difficulty() {
    for text in ["0.5", "5e-1", "5E-1", "0.50", "50e-2", "\"0.5\"", " 0.5 ", "0.05e+1"] {
        assert_eq!(text.parse::<Difficulty>(), "0.5".parse(), "{text}");
    }
}

#[test]
fn what_is_no_difficulty_is_refused() {
    for text in
        ["", "\"\"", ".", "1.", ".5", "1e", "1e+", "0x10", "NaN", "null", "1 2", "+1", "\u{e9}"]
    {
        assert_eq!(text.parse::<Difficulty>(), Err(DifficultyError::NotANumber), "{text}");
    }
    for text in ["0", "-1", "0.000", "0e5", "-0.5"] {
        assert_eq!(text.parse::<Difficulty>(), Err(DifficultyError::NotPositive), "{text}");
    }
}

#[test]
fn absurd_magnitudes_end_at_the_borders() {
    let easiest = "f".repeat(64);
    let hardest = "0".repeat(64);
    assert_eq!(target("1e-99999999999999999999"), easiest);
    assert_eq!(target("1e-88"), easiest);
    assert_eq!(target("1e-11"), easiest);
    assert_eq!(target("1e99999999999999999999"), hardest);
    assert_eq!(target("1e68"), hardest);
    assert_eq!(target(&"9".repeat(400)), hardest);
    assert_eq!(target(&format!("0.{}1", "0".repeat(400))), easiest);
}

#[test]
fn digits_past_the_limit_round_the_difficulty_up() {
    let exact: Difficulty = "1".parse().unwrap();
    let above: Difficulty = format!("1.{}1", "0".repeat(90)).parse().unwrap();
    assert!(above.target() < exact.target());
    // A zero that is dropped rounds nothing.
    assert_eq!(format!("1.{}", "0".repeat(90)).parse(), Ok(exact));
    // Dropped digits before the point still count as places.
    assert_eq!(format!("1{}", "0".repeat(90)).parse::<Difficulty>(), "1e90".parse());
}

#[test]
fn difficulties_are_written_as_short_json_numbers() {
    for text in ["1", "0.5", "1.5", "65536", "1152921504606846976", "0.00015", "4.656542373e-10"] {
        assert_eq!(text.parse::<Difficulty>().unwrap().to_string(), text);
    }
    assert_eq!("1e-7".parse::<Difficulty>().unwrap().to_string(), "1e-7");
    assert_eq!("1e22".parse::<Difficulty>().unwrap().to_string(), "1e22");
    assert_eq!("0.1e4".parse::<Difficulty>().unwrap().to_string(), "1000");
}

#[test]
fn compact_bits_decode_as_in_bitcoin() {
    let bits = |bits| Target::from_bits(bits).map(|target| target.to_string());
    let expect = |text: &str| Some(text.to_owned());
    assert_eq!(
        bits(0x1d00_ffff),
        expect("00000000ffff0000000000000000000000000000000000000000000000000000")
    );
    assert_eq!(
        bits(0x207f_ffff),
        expect("7fffff0000000000000000000000000000000000000000000000000000000000")
    );
    assert_eq!(bits(0x0112_3456), expect(&format!("{:064x}", 0x12)));
    assert_eq!(bits(0x0412_3456), expect(&format!("{:064x}", 0x1234_5600)));
    // Zero, negative, too large: Bitcoin's arith_uint256::SetCompact.
    for refused in [0, 0x0100_3456, 0x0492_3456, 0xff12_3456, 0x2300_0001, 0x2101_0000] {
        assert_eq!(bits(refused), None, "{refused:08x}");
    }
    assert!(bits(0x2200_00ff).is_some());
}

#[test]
fn a_hash_meets_its_own_target_and_not_the_one_below() {
    let mut hash = [0; 32];
    hash[28] = 0xff;
    hash[29] = 0xff;
    // 0x0000ffff << 224 as a little-endian number.
    let at = Target(U256::from(0xffff_u32) << 224);
    assert!(at.is_met_by(&hash));
    assert!(!Target(at.0 - U256::ONE).is_met_by(&hash));
    assert_eq!(at.top_word(), 0xffff);
}

proptest! {
    /// `target * difficulty <= 0xffff * 2^208 < (target + 1) * difficulty`: the floor, exactly.
    #[test]
    fn the_target_is_the_floor_of_the_quotient(
        whole in 0_u64..1_000_000_000_000,
        fraction in 1_u64..1_000_000_000_000,
        power in -9_i64..=15,
    ) {
        let difficulty: Difficulty = format!("{whole}.{fraction:012}e{power}").parse().unwrap();
        let target = Wide::from(difficulty.target().0);
        prop_assume!(difficulty.target() != Target(U256::MAX));
        let digits = Wide::from(whole) * Wide::from(1_000_000_000_000_u64) + Wide::from(fraction);
        let mut left = Wide::from(0xffff_u64) << 208;
        let mut right = digits;
        let places = power - 12;
        let scale = Wide::from(10).pow(Wide::from(places.unsigned_abs()));
        if places < 0 { left *= scale } else { right *= scale }
        prop_assert!(target * right <= left);
        prop_assert!(left < (target + Wide::ONE) * right);
    }

    #[test]
    fn any_text_is_a_difficulty_or_refused(text: String) {
        if let Ok(difficulty) = text.parse::<Difficulty>() {
            prop_assert_eq!(difficulty.to_string().parse(), Ok(difficulty));
        }
    }

    #[test]
    fn what_is_written_reads_back(digits in 1_u64.., power in -400_i64..400) {
        let difficulty: Difficulty = format!("{digits}e{power}").parse().unwrap();
        prop_assert_eq!(difficulty.to_string().parse(), Ok(difficulty));
        let _ = difficulty.target();
    }
}
