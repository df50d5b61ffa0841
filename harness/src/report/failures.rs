//! The failure modes of mining servers that are on record, and what would notice each here.
//!
//! A table that is tested: every law in it is one that an oracle can break, every test in it is a
//! function in the file that is named. The numbers and names are those of the project's list of
//! failures elsewhere. Not in here: what each law says (`oracle`).

/// What would notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cover {
    /// A law of the simulator.
    Law(&'static str),
    /// A test: its file, and the function.
    Test(&'static str, &'static str),
}

use Cover::{Law, Test};

/// Each failure mode: its number, its name, and what would notice.
pub const FAILURES: [(u8, &str, &[Cover]); 36] = [
    (
        1,
        "Extranonce1 collision",
        &[
            Law("EXTRA-1"),
            Law("SHARE-1"),
            Test("server/src/stratum/extranonce.rs", "never_two_at_a_time"),
        ],
    ),
    (
        2,
        "Share check before block check",
        &[
            Law("BLOCK-3"),
            Test(
                "server/src/pool/tests/faults.rs",
                "a_block_that_does_not_count_as_a_share_is_still_a_block",
            ),
        ],
    ),
    (
        3,
        "Share difficulty above the network's",
        &[
            Law("BLOCK-1"),
            Law("VAR-1"),
            Test(
                "server/src/mining/difficulty.rs",
                "the_networks_own_difficulty_is_never_exceeded",
            ),
        ],
    ),
    (
        4,
        "Network difficulty clamped to one",
        &[
            Test("server/src/mining/difficulty.rs", "known_targets"),
            Test("harness/tests/regtest.rs", "from_genesis_to_beyond_the_halving"),
        ],
    ),
    (
        5,
        "Difficulty compared as floats",
        &[
            Law("SHARE-2"),
            Test(
                "server/src/mining/difficulty.rs",
                "a_hash_at_the_target_counts_and_one_above_does_not",
            ),
            Test("server/src/mining/difficulty.rs", "text_survives"),
        ],
    ),
    (6, "Races of set_difficulty", &[Law("SHARE-2"), Law("REPLY-2")]),
    (7, "Credit before verification", &[Law("SHARE-2")]),
    (
        8,
        "Stale shares taken, stale blocks dropped",
        &[
            Law("SHARE-2"),
            Law("BLOCK-1"),
            Test(
                "server/src/pool/tests/faults.rs",
                "shares_for_a_left_tip_count_through_the_grace",
            ),
        ],
    ),
    (
        9,
        "Reorganisation to equal height",
        &[
            Law("JOB-5"),
            Test("server/src/pool/tests/faults.rs", "a_reorganisation_to_equal_height_is_clean"),
        ],
    ),
    (
        10,
        "Template not refreshed after a block",
        &[Law("LIVE-1"), Test("harness/tests/regtest.rs", "from_genesis_to_beyond_the_halving")],
    ),
    (
        11,
        "Verdicts of submitblock mistaken",
        &[Law("BLOCK-4"), Test("server/src/node/submitter/tests.rs", "verdicts_are_told_apart")],
    ),
    (
        12,
        "Two blocks in quick succession",
        &[
            Law("BLOCK-1"),
            Test("server/src/node/submitter/tests.rs", "two_blocks_at_once_both_go_out"),
        ],
    ),
    (
        13,
        "A block lost between found and submitted",
        &[
            Law("BLOCK-1"),
            Law("BLOCK-2"),
            Test(
                "server/tests/shell.rs",
                "a_found_block_is_on_disk_before_the_reply_and_outlives_a_crash",
            ),
        ],
    ),
    (
        14,
        "The window of ntime",
        &[
            Law("SHARE-2"),
            Law("BLOCK-1"),
            Test("server/src/mining/template.rs", "a_lagging_clock_is_lifted_to_the_least_time"),
        ],
    ),
    (
        15,
        "Version rolling combined wrongly",
        &[Law("SHARE-2"), Test("server/src/mining/share.rs", "version_bits_by_mask")],
    ),
    (
        16,
        "Merkle root wrong",
        &[
            Law("JOB-4"),
            Test(
                "server/src/mining/merkle.rs",
                "agrees_with_the_bitcoin_crate_for_small_blocks_and_full_ones",
            ),
        ],
    ),
    (
        17,
        "Witness commitment missing",
        &[
            Law("COIN-2"),
            Test(
                "server/src/mining/template.rs",
                "the_commitment_covers_what_the_node_says_it_covers",
            ),
        ],
    ),
    (
        18,
        "coinbasetxn ignored",
        &[
            Law("COIN-1"),
            Law("COIN-2"),
            Test(
                "server/src/pool/tests/enforcer.rs",
                "every_output_is_kept_and_the_reward_redirected",
            ),
        ],
    ),
    (
        19,
        "Edge cases of the payout output",
        &[
            Test("server/src/mining/given.rs", "no_reward_is_no_output_to_redirect"),
            Test("server/src/mining/given.rs", "what_is_refused_has_a_name"),
        ],
    ),
    (
        20,
        "scriptSig over 100 bytes",
        &[Law("COIN-2"), Test("server/src/mining/given.rs", "what_is_refused_has_a_name")],
    ),
    (
        21,
        "Heights as BIP-0034 wants them",
        &[
            Test("server/src/mining/script_sig.rs", "heights_are_pushed_as_consensus_wants_them"),
            Test("harness/tests/regtest.rs", "from_genesis_to_beyond_the_halving"),
        ],
    ),
    (
        22,
        "Commitment stale on an unchanged tip",
        &[
            Law("BMM-2"),
            Law("BMM-3"),
            Test(
                "server/src/bmm/auction/tests.rs",
                "the_highest_fee_wins_its_slot_and_the_losers_take_their_descendants_along",
            ),
        ],
    ),
    (
        23,
        "Template server that fails or lies",
        &[
            Law("LIVE-1"),
            Law("BMM-1"),
            Test(
                "server/src/pool/tests/faults.rs",
                "a_bad_template_is_refused_and_the_last_job_stays",
            ),
            Test(
                "server/src/node/failover/tests.rs",
                "templates_that_make_no_job_are_a_reason_to_leave_for_a_while",
            ),
            Test(
                "server/src/pool/tests/nodes.rs",
                "without_any_node_there_is_no_work_in_the_end_and_at_once_when_one_is_back",
            ),
        ],
    ),
    (
        24,
        "Coinbase too big for firmware",
        &[Test("server/src/pool/tests/terms.rs", "small_firmware_gets_what_fits_or_no_work")],
    ),
    (
        25,
        "A slow reader blocks everybody",
        &[
            Law("RES-1"),
            Law("LIVE-3"),
            Test(
                "server/tests/shell.rs",
                "a_miner_that_does_not_read_is_cut_off_and_the_others_go_on",
            ),
        ],
    ),
    (
        26,
        "Abuse of the store of duplicates",
        &[
            Law("SHARE-1"),
            Test(
                "server/src/mining/ledger.rs",
                "counted_once_forgotten_with_the_parent_and_bounded",
            ),
        ],
    ),
    (
        27,
        "Malformed submissions",
        &[
            Law("REPLY-3"),
            Law("SHARE-2"),
            Test("server/src/pool/tests/garbage.rs", "strangers_do_no_harm"),
        ],
    ),
    (
        28,
        "Job ids that repeat",
        &[Law("JOB-2"), Test("server/src/mining/job.rs", "ids_of_other_runs_are_unknown")],
    ),
    (
        29,
        "Disconnects by strictness",
        &[
            Law("REPLY-1"),
            Test(
                "server/src/stratum/session/tests.rs",
                "garbage_ends_it_and_unknown_methods_do_not",
            ),
        ],
    ),
    (
        30,
        "Quirks of the configure reply",
        &[Test("server/src/stratum/session/tests.rs", "configure_answers_what_was_asked")],
    ),
    (31, "Clock steps", &[Law("SHARE-2"), Law("LIVE-2"), Law("VAR-1")]),
    (
        32,
        "Ledger loss",
        &[
            Law("SHARE-3"),
            Law("SHARE-4"),
            Law("DISK-1"),
            Law("DISK-2"),
            Test("server/src/journal/recovery.rs", "any_change_before_the_last_batch_is_refused"),
            Test("server/src/pool/tests/journal.rs", "a_full_disk_is_waited_out_and_blocks_go_on"),
            Test(
                "server/tests/errors.rs",
                "shares_are_added_up_from_the_log_and_a_damaged_one_is_refused",
            ),
        ],
    ),
    (33, "Shared mutable templates", &[Law("JOB-2"), Law("DET-1")]),
    (
        34,
        "Halving and rounding of fees",
        &[Law("COIN-1"), Test("harness/tests/regtest.rs", "from_genesis_to_beyond_the_halving")],
    ),
    (
        35,
        "Weight overflow by a larger coinbase",
        &[Test("server/src/mining/block.rs", "blocks_of_any_size_add_up")],
    ),
    (
        36,
        "Node outage",
        &[
            Law("LIVE-1"),
            Law("LIVE-2"),
            Test(
                "server/src/pool/tests/faults.rs",
                "a_node_in_trouble_is_asked_until_it_works_and_miners_keep_their_job",
            ),
            Test(
                "server/src/pool/tests/nodes.rs",
                "miners_stay_where_they_are_when_nodes_come_and_go",
            ),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    fn sources(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_failure_mode_is_covered_by_something_that_exists() {
        let mut oracles = String::new();
        sources(&root().join("harness/src/oracle"), &mut oracles);
        sources(&root().join("harness/src/simulate"), &mut oracles);
        for (place, (number, name, covers)) in (1..).zip(FAILURES) {
            assert_eq!(number, place, "{name}");
            assert!(!covers.is_empty(), "{number} {name} is covered by nothing");
            for cover in covers {
                match cover {
                    Law(law) => {
                        assert!(
                            oracles.contains(&format!("\"{law}\""))
                                || oracles.contains(&format!("FAILED  {law}")),
                            "{number}: no {law}"
                        );
                    }
                    Test(file, test) => {
                        let text = fs::read_to_string(root().join(file)).unwrap();
                        assert!(text.contains(&format!("fn {test}(")), "{number}: {file} {test}");
                    }
                }
            }
        }
    }
}
