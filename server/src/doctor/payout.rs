//! Where the reward goes.
//!
//! That the address is one of the network, and of a kind that is not for everybody to spend, is
//! seen when the settings are read: with another there is no start, and no doctor.

use bitcoin::{Network, Script};

use super::report::Line;
use crate::settings::Settings;

const PAYOUT: &str = "payout";
const FEE: &str = "solo fee";

/// A whole in basis points.
const BASIS_POINTS: u128 = 10_000;

/// `reward` is what the next block pays, in satoshis, where that is known.
pub(super) fn lines(settings: &Settings, reward: Option<u64>) -> Vec<Line> {
    let payout = &settings.payout;
    let mut lines = vec![verdict(&payout.script, &payout.description, settings.network, reward)];
    if let Some(solo) = settings.solo.filter(|solo| solo.fee_basis_points > 0) {
        lines.push(fee(&payout.script, solo.fee_basis_points, reward));
    }
    lines
}

fn verdict(script: &Script, description: &str, network: Network, reward: Option<u64>) -> Line {
    let network = network.to_core_arg();
    let known = script.is_p2pkh()
        || script.is_p2sh()
        || script.is_p2wpkh()
        || script.is_p2wsh()
        || script.is_p2tr();
    if !known {
        return Line::warning(
            PAYOUT,
            format!("{description} (on {network})"),
            "for blocks that are worth something, set PAYOUT_ADDRESS to an address of yours",
        );
    }
    let dust = script.minimal_non_dust().to_sat();
    match reward {
        None => Line::passed(PAYOUT, format!("{description}, an address of {network}")),
        Some(reward) if reward < dust => Line::warning(
            PAYOUT,
            format!(
                "{description} gets {reward} sat of the next block, and spending them costs more"
            ),
            "nothing is wrong here: the network's reward is used up",
        ),
        Some(reward) => {
            let seen = format!("{description}, an address of {network}; the next block pays");
            Line::passed(PAYOUT, format!("{seen} {reward} sat"))
        }
    }
}

/// The operator's part of a block that a miner found for himself.
fn fee(script: &Script, basis_points: u16, reward: Option<u64>) -> Line {
    let Some(reward) = reward else {
        return Line::not_checked(FEE, "no node says what the next block pays");
    };
    let fee = u128::from(reward) * u128::from(basis_points) / BASIS_POINTS;
    let seen = format!("{fee} sat of the next block");
    if fee < u128::from(script.minimal_non_dust().to_sat()) {
        let fix = "raise SOLO_FEE_BASIS_POINTS, or set it to 0: spending this costs more";
        return Line::warning(FEE, seen, fix);
    }
    Line::passed(FEE, seen)
}

#[cfg(test)]
mod tests {
    use bitcoin::ScriptBuf;

    use super::*;
    use crate::doctor::Verdict;

    /// Pays a public key's hash; 294 sat are dust.
    fn segwit() -> ScriptBuf {
        ScriptBuf::from_bytes([&[0, 20][..], &[7; 20]].concat())
    }

    #[test]
    fn a_reward_goes_to_somebody_and_is_worth_spending() {
        let check = |script: &ScriptBuf, reward, expected| {
            let line = verdict(script, "it", Network::Regtest, reward);
            assert_eq!(line.verdict, expected, "{}", line.seen);
        };
        check(&segwit(), None, Verdict::Passed);
        check(&segwit(), Some(294), Verdict::Passed);
        check(&segwit(), Some(293), Verdict::Warning);
        check(&ScriptBuf::from_bytes(vec![0x51]), Some(5_000_000_000), Verdict::Warning);
    }

    #[test]
    fn a_fee_is_worth_spending_or_better_not_taken() {
        let check = |basis_points, reward, expected| {
            assert_eq!(fee(&segwit(), basis_points, reward).verdict, expected);
        };
        check(100, Some(29_400), Verdict::Passed);
        check(100, Some(29_399), Verdict::Warning);
        check(10_000, Some(u64::MAX), Verdict::Passed);
        check(100, None, Verdict::NotChecked);
    }
}
