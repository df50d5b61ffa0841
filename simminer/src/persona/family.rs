//! The habits of real firmware, each as its own source or a capture of it shows them.
//!
//! Why: what a server must bear is known only from those who must be borne. The exact bytes stand
//! in the transcripts of the server's tests; here the same habits mine, over real sockets.

use super::Opening::{
    Authorize, Capabilities, Configure, MultiVersion, Subscribe, SubscribeExtranonce,
    SuggestDifficulty, SuggestTarget,
};
use super::{Ids, Opening, Persona, VersionParameter};

/// The names that [`Persona::family`] knows.
pub const FAMILIES: [&str; 14] = [
    "cgminer",
    "avalon",
    "bfgminer",
    "bmminer",
    "antminer",
    "whatsminer",
    "braiins",
    "bitaxe",
    "bitaxe-old",
    "nerdminer",
    "nerdqaxe",
    "mujina",
    "cpuminer",
    "nicehash",
];

fn base(user_agent: &str, opening: &[Opening]) -> Persona {
    Persona {
        user_agent: user_agent.to_owned(),
        opening: opening.to_vec(),
        mask_bits_min: None,
        ..Persona::honest()
    }
}

/// One request after the other, and the next line is its answer.
fn strict(user_agent: &str, opening: &[Opening]) -> Persona {
    Persona { line_strict: true, ..base(user_agent, opening) }
}

pub(super) fn persona(name: &str) -> Option<Persona> {
    cgminer_kind(name).or_else(|| asic(name)).or_else(|| small(name))
}

/// cgminer, what was made of it, and its contemporaries.
fn cgminer_kind(name: &str) -> Option<Persona> {
    Some(match name {
        // util.c: configure and subscribe each read one line.
        "cgminer" => Persona {
            mask: "ffffffff".to_owned(),
            ..strict("cgminer/4.12.0", &[Configure, Subscribe, Authorize, SuggestDifficulty])
        },
        "avalon" => strict("cgminer/4.11.1", &[Subscribe, Authorize]),
        "bfgminer" => Persona {
            ids: Ids::Named,
            ..base(
                "bfgminer/5.5.0",
                &[SuggestTarget, Capabilities, Subscribe, SubscribeExtranonce, Authorize],
            )
        },
        "bmminer" => Persona {
            version: VersionParameter::Whole,
            coinbase_half_max: 750,
            ..strict(
                "bmminer/2.0.0",
                &[Subscribe, Authorize, SubscribeExtranonce, SuggestDifficulty, MultiVersion],
            )
        },
        "cpuminer" => Persona {
            ids: Ids::SubmitAlways(4),
            ..strict("cpuminer/2.5.1", &[Subscribe, Authorize])
        },
        _ => return None,
    })
}

/// Machines and firmware of today, and who rents them out.
fn asic(name: &str) -> Option<Persona> {
    let opening = [Configure, Subscribe, Authorize];
    Some(match name {
        "antminer" => Persona {
            mask_bits_min: Some(16),
            coinbase_half_max: 750,
            ..strict("Antminer S19/Mon Mar 1", &opening)
        },
        "whatsminer" => strict("whatsminer/v1.0", &opening),
        "braiins" => Persona {
            mask_bits_min: Some(16),
            subscribe_rest: vec![None, Some("stratum.example:3333".to_owned()), None],
            ..base("Braiins OS 2019-06-05", &opening)
        },
        "mujina" => {
            strict("mujina-miner/0.1.0", &[Configure, Subscribe, Authorize, SuggestDifficulty])
        }
        "nicehash" => Persona {
            mask_bits_min: Some(2),
            coinbase_half_max: 500,
            ..strict("NiceHash/1.0.0", &[Configure, Subscribe, Authorize, SubscribeExtranonce])
        },
        _ => return None,
    })
}

/// Devices of one chip or none.
fn small(name: &str) -> Option<Persona> {
    Some(match name {
        // stratum_api.c: three requests at once; version bits as the difference.
        "bitaxe" => Persona {
            mask: "ffffffff".to_owned(),
            version: VersionParameter::Difference,
            coinbase_half_max: 384,
            ..base(
                "bitaxe/BM1370/v2.12.2",
                &[Configure, Subscribe, Authorize, SuggestDifficulty, SubscribeExtranonce],
            )
        },
        "bitaxe-old" => Persona {
            mask: "ffffffff".to_owned(),
            version: VersionParameter::Difference,
            coinbase_half_max: 384,
            ..base("bitaxe v2.0.3", &[Subscribe, Configure, SuggestDifficulty, Authorize])
        },
        // stratum.cpp: the line after subscribe must be its answer; 512 digits for each half.
        "nerdminer" => Persona {
            short_nonce: true,
            coinbase_half_max: 255,
            ..strict("NerdMinerV2/1.8.3", &[Subscribe, Authorize, SuggestDifficulty])
        },
        "nerdqaxe" => Persona {
            version: VersionParameter::Difference,
            coinbase_half_max: 384,
            ..base(
                "NerdQAxe++/BM1370/v1.0.30",
                &[Subscribe, Configure, Authorize, SuggestDifficulty, SubscribeExtranonce],
            )
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_family() {
        for name in FAMILIES {
            let persona = persona(name).expect(name);
            assert!(persona.opening.contains(&Subscribe) && persona.opening.contains(&Authorize));
        }
        assert_eq!(persona("somebody"), None);
    }
}
