//! Which calls go wrong, and how.

use std::fmt;
use std::time::Duration;

use super::super::proxy::{Fault, Methods, Planned};

const SUBMIT: Methods = Methods::Only("submitblock");
const TEMPLATE: Methods = Methods::Only("getblocktemplate");
const STANDING: Methods = Methods::Only("getblockheader");

/// Where a second node's chain is, seen from the first one's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tips {
    /// There is no second node.
    One,
    /// It has more blocks, and others.
    SecondAhead,
    /// It has fewer blocks, and others.
    SecondBehind,
    /// It has as many blocks, and others.
    Level,
}

/// What a server has to stand.
#[derive(Clone, Debug)]
pub struct Case {
    /// What goes wrong on the way to the first node.
    pub faults: Vec<Planned>,
    /// What the second one has.
    pub tips: Tips,
}

impl Case {
    fn of(faults: &[(Methods, Fault, u32)]) -> Self {
        let plan = |(methods, fault, count): &_| Planned {
            methods: *methods,
            fault: *fault,
            count: *count,
        };
        Self { faults: faults.iter().map(plan).collect(), tips: Tips::One }
    }

    fn between(tips: Tips, faults: &[(Methods, Fault, u32)]) -> Self {
        Self { tips, ..Self::of(faults) }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tips = match self.tips {
            Tips::One => None,
            Tips::SecondAhead => Some("second node ahead on another chain"),
            Tips::SecondBehind => Some("second node behind on another chain"),
            Tips::Level => Some("second node as high on another chain"),
        };
        let faults = self.faults.iter().map(Planned::to_string);
        let parts: Vec<String> = tips.map(str::to_owned).into_iter().chain(faults).collect();
        formatter.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        formatter.write_str(&parts.join("; "))
    }
}

/// Cases of some seconds each, for one node.
pub fn quick() -> Vec<Case> {
    let all = Methods::All;
    vec![
        Case::of(&[]),
        Case::of(&[(SUBMIT, Fault::ReplyLost, 3)]),
        Case::of(&[(SUBMIT, Fault::Reset, 3)]),
        Case::of(&[(SUBMIT, Fault::Broken, 3)]),
        Case::of(&[(SUBMIT, Fault::Unauthorized, 3)]),
        Case::of(&[(SUBMIT, Fault::Truncated, 3)]),
        Case::of(&[(SUBMIT, Fault::Html, 3)]),
        // The block is at the node, its null is lost, and so is the answer to where it stands.
        Case::of(&[(SUBMIT, Fault::ReplyLost, 1), (STANDING, Fault::Broken, 2)]),
        Case::of(&[
            (TEMPLATE, Fault::Html, 2),
            (TEMPLATE, Fault::Truncated, 2),
            (TEMPLATE, Fault::Unauthorized, 2),
        ]),
        Case::of(&[
            (all, Fault::ReplyLost, 3),
            (all, Fault::Reset, 3),
            (all, Fault::Broken, 3),
            (all, Fault::Unauthorized, 3),
            (all, Fault::Truncated, 3),
            (all, Fault::Html, 3),
        ]),
    ]
}

/// Cases that take as long as the hang, or as the server's patience.
pub fn hangs(hang: Duration) -> Vec<Case> {
    vec![
        Case::of(&[(SUBMIT, Fault::HangBefore(hang), 1)]),
        Case::of(&[(SUBMIT, Fault::HangAfter(hang), 1)]),
        Case::of(&[(TEMPLATE, Fault::HangBefore(hang), 2)]),
    ]
}

/// Cases for two nodes that never hear of each other.
pub fn two_nodes() -> Vec<Case> {
    vec![
        Case::between(Tips::Level, &[]),
        Case::between(Tips::SecondBehind, &[(SUBMIT, Fault::ReplyLost, 2)]),
        Case::between(Tips::SecondAhead, &[(SUBMIT, Fault::Html, 2)]),
    ]
}

/// A case that no server can stand: it must come out as a loss.
pub fn deceived() -> Case {
    Case::of(&[(SUBMIT, Fault::Lie, 1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_says_what_it_is() {
        let shown = |case: &Case| case.to_string();
        assert_eq!(shown(&quick()[0]), "nothing");
        assert_eq!(shown(&quick()[1]), "submitblock: reply lost after effect x3");
        let hang = Duration::from_mins(1);
        assert_eq!(shown(&hangs(hang)[0]), "submitblock: hang of 60 s before effect x1");
        let two = "second node behind on another chain; submitblock: reply lost after effect x2";
        assert_eq!(shown(&two_nodes()[1]), two);
    }
}
