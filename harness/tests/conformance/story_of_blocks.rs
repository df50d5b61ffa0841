//! Blocks that are right but for one thing, and blocks on the edge of being wrong.
//!
//! Each is proposed, then submitted twice: what a node remembers of a refused block is part of
//! its answer.

use harness::draft::faults::{FAULTS, ODD};
use harness::draft::{Draft, script_sig};

use crate::story::Story;

/// Tells every fault, then every oddity.
pub(crate) async fn wrong_in_one_way(story: &mut Story) {
    story.node.chapter("blocks that are wrong in one way");
    story.pass(10).await;
    for (number, (fault, spoil)) in (1..).zip(FAULTS) {
        let mut draft = story.draft();
        // No two are the same block, or the second would be a duplicate.
        draft.script_sig = script_sig(story.height() + 1, number);
        spoil(&mut draft);
        judge(story, fault, &draft).await;
    }
    story.node.chapter("a right block under the same header as a wrong one");
    let right = story.draft();
    let wrong = Draft { witness: vec![vec![0; 31]], ..right.clone() };
    judge(story, "a bad reserved value", &wrong).await;
    judge(story, "the right one", &right).await;
    story.chain.push(right.build().block_hash());

    story.node.chapter("blocks that are odd and right");
    for (oddity, spoil) in ODD {
        story.pass(10).await;
        let mut draft = story.draft();
        spoil(&mut draft);
        judge(story, oddity, &draft).await;
        story.chain.push(draft.build().block_hash());
    }
    // Later than the block that was ahead.
    story.pass(7_200).await;
}

async fn judge(story: &mut Story, what: &str, draft: &Draft) {
    let block = draft.build();
    let proposed = story.node.propose(&block).await;
    let submitted = [story.node.submit(&block).await, story.node.submit(&block).await];
    story.node.note(what, &format!("{proposed} | {} | {}", submitted[0], submitted[1]));
}
