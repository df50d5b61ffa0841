//! A coinbase message in a few words, for the log line of its job.

use std::fmt;

use bitcoin::hex::DisplayHex as _;

use super::{CoinbaseMessage, Declaration, SidechainProposal, Votes};

/// Characters of a proposed sidechain's title that are shown. Anybody may have chosen them.
const TITLE_LENGTH_MAX: usize = 32;
/// Hex digits that a hash is known by.
const HASH_DIGITS: usize = 8;
/// Votes that are shown: as many as there are on the live networks, and some more.
const VOTES_SHOWN_MAX: usize = 32;

impl fmt::Display for CoinbaseMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::M1(proposal) => write!(f, "M1 slot {} {}", proposal.slot, name(proposal)),
            Self::M2(acknowledgement) => {
                let hash = acknowledgement.description_hash;
                write!(f, "M2 slot {} {}", acknowledgement.slot, short(&hash))
            }
            Self::M3(proposal) => {
                write!(f, "M3 slot {} {}", proposal.slot, short(&proposal.bundle))
            }
            Self::M4(votes) => write!(f, "M4 {votes}"),
            Self::M7(commitment) => write!(f, "M7 {commitment}"),
        }
    }
}

impl fmt::Display for Votes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RepeatPrevious => f.write_str("repeat"),
            Self::LeadingBy50 => f.write_str("leading-by-50"),
            Self::OneByte(votes) => {
                let shown = &votes[..votes.len().min(VOTES_SHOWN_MAX)];
                write!(f, "votes {}{}", shown.as_hex(), cut(votes.len()))
            }
            Self::TwoByte(votes) => {
                f.write_str("votes ")?;
                votes.iter().take(VOTES_SHOWN_MAX).try_for_each(|vote| write!(f, "{vote:04x}"))?;
                f.write_str(cut(votes.len()))
            }
        }
    }
}

fn cut(votes: usize) -> &'static str {
    if votes > VOTES_SHOWN_MAX { ".." } else { "" }
}

fn short(hash: &impl fmt::Display) -> String {
    let hash = hash.to_string();
    format!("{}..", &hash[..HASH_DIGITS])
}

fn name(proposal: &SidechainProposal) -> String {
    let Some(declaration) = Declaration::parse(&proposal.description) else {
        return short(&proposal.description_hash());
    };
    let title: String = declaration.title.chars().take(TITLE_LENGTH_MAX).collect();
    format!("\"{}\"", title.escape_debug())
}
