//! From a new template to a job on every miner's wire.
//!
//! A new template waits a moment for the h\* of our own sidechains, because they commit to its
//! tip; then it is published with what is there, and once more when a late h\* arrives. While the
//! tip stands, a template makes a new job when it brings other bids or commitments, and otherwise
//! only every `JOB_REFRESH_INTERVAL`, however often the node is asked.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, ScriptBuf};
use tracing::{error, info, warn};

use super::action::Halt;
use super::referee::{NoJob, is_sound};
use super::{Pool, wishes};
use crate::bmm::auction::{self, AuctionTx};
use crate::bmm::message::CoinbaseMessage;
use crate::bmm::policy::{self, Candidate, Choice, Provenance};
use crate::bmm::{Bid, Commitment};
use crate::clock::{Instant, Now};
use crate::config::Config;
use crate::mining::coinbase::{Coinbase, CoinbasePlan};
use crate::mining::hash::Hash;
use crate::mining::template::Template;
use crate::node::follower::{News, Question};
use crate::node::proposal::Proposal;
use crate::node::rpc::{CallError, HttpReply};

/// The template in work.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// The newest template, bids settled.
    template: Option<Settled>,
    /// Since when the template waits to be published.
    waiting: Option<Instant>,
    /// What was last made of a template, be it sent or found unsound.
    made: Option<Made>,
    /// When the daemons were last asked.
    asked: Option<Instant>,
    /// When a node last confirmed the tip that miners work on.
    confirmed: Option<Instant>,
    /// Nobody did for too long, and there is no work.
    dead: bool,
    /// The tip whose jobs are made without what they need not have.
    bare: Option<Hash>,
}

/// A template whose auction is held.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    /// As the node gave it.
    pub(super) whole: Arc<Template>,
    /// With only what stays.
    pub(super) template: Arc<Template>,
    /// What stands in the coinbase that the node gave.
    pub(super) given: Vec<Commitment>,
    /// The bids in the block, and what each pays in satoshis.
    pub(super) bids: Vec<(Commitment, u64)>,
    /// Whether its block is to have nothing that it need not have.
    alone: bool,
}

/// What a job is made from beside its template.
#[derive(Debug)]
pub(super) struct Draft {
    choice: Choice,
    pub(super) coinbase: Coinbase,
    /// Whether the coinbase has commitments or messages that it need not have.
    extras: bool,
}

impl Settled {
    /// Nothing but a coinbase that pays out.
    pub(super) fn alone(template: Arc<Template>) -> Self {
        let whole = Arc::clone(&template);
        Self { whole, template, given: Vec::new(), bids: Vec::new(), alone: true }
    }

    /// With fewer bids, in `template`.
    pub(super) fn with_bids(&self, template: Arc<Template>, bids: Vec<(Commitment, u64)>) -> Self {
        Self { template, bids, ..self.clone() }
    }

    /// What the winning bids of a plain template pay for, and its coinbase does not say yet.
    fn won(&self) -> Vec<Commitment> {
        let plain = self.template.given.is_none();
        self.bids.iter().filter(|_| plain).map(|(commitment, _)| *commitment).collect()
    }
}

#[derive(Debug)]
struct Made {
    parent: Hash,
    stakes: Stakes,
    when: Instant,
}

/// What a job is worth to sidechains: its commitments and the bids in it, in no order, for a
/// template maker's order says nothing.
#[derive(Debug, Eq, PartialEq)]
struct Stakes {
    commitments: BTreeSet<Commitment>,
    bids: BTreeSet<(Commitment, u64)>,
}

impl Stakes {
    fn of(settled: &Settled, choice: &Choice) -> Self {
        Self {
            commitments: choice.commitments().collect(),
            bids: settled.bids.iter().copied().collect(),
        }
    }
}

impl Work {
    /// When the waiting template is published even without its sidechains.
    pub(super) fn waits_until(&self, patience: Duration) -> Option<Instant> {
        self.waiting.map(|since| since + patience)
    }

    /// When there is no more work, if no node confirms the tip for `age`.
    pub(super) fn dies_at(&self, age: Duration) -> Option<Instant> {
        self.confirmed.filter(|_| !self.dead).map(|when| when + age)
    }

    /// Whether there is no work, because no node confirms the tip.
    pub(super) const fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether so long has passed since `then` that it is done anew.
    fn is_due(then: Option<Instant>, now: Instant, every: Duration) -> bool {
        then.is_none_or(|then| now.since(then) >= every)
    }

    /// Whether jobs on `parent` have nothing that they need not have.
    pub(super) fn is_bare(&self, parent: Hash) -> bool {
        self.bare == Some(parent)
    }

    /// From now on there is none, and none waits.
    pub(super) fn forget_template(&mut self) {
        (self.template, self.waiting) = (None, None);
    }

    /// The block that the newest template builds on.
    pub(super) fn tip(&self) -> Option<Hash> {
        self.template.as_ref().map(|settled| settled.template.parent)
    }
}

impl Pool {
    pub(super) fn on_node_reply(
        &mut self,
        now: Now,
        node: usize,
        question: Question,
        reply: &Result<HttpReply, CallError>,
    ) {
        match self.nodes.on_reply(now.mono, node, question, reply) {
            News::Nothing => {}
            News::Fatal(why) => self.halt(Halt::Fatal(why)),
            News::Template(template) => self.on_template(now, template),
            News::Alone(template) => self.on_tip_alone(now, template),
        }
    }

    /// Follows another node, when that is better.
    pub(super) fn choose_node(&mut self, now: Now) {
        if let Some(template) = self.nodes.weigh(now.mono) {
            self.on_template(now, template);
        }
    }

    /// The operator changed the settings: there is a job by the new ones at once. Those that are
    /// out stay as good as they were.
    pub(super) fn on_reconfigured(&mut self, now: Now, newer: Config) {
        if newer.wishes != self.config.wishes {
            self.wishes = wishes::WishBook::default();
            wishes::announce(&newer.wishes);
        }
        self.config.take_terms(newer);
        // What the node did not like may be gone.
        self.work.bare = None;
        self.nodes.take_terms(&self.config);
        let Some(settled) = self.work.template.take() else { return };
        self.work.template =
            self.settle_bids(settled.whole).inspect_err(|why| error!("{why}")).ok();
        let Some(settled) = self.work.template.clone() else { return };
        // A waiting job will be made by them, and so will one after a dead tip or for nobody.
        if self.work.waiting.is_none() && !self.work.dead && self.stopping.is_none() {
            self.publish(now, &settled);
        }
    }

    fn on_template(&mut self, now: Now, template: Arc<Template>) {
        let parent = template.parent;
        let settled = match self.settle_bids(template) {
            Ok(settled) => settled,
            Err(why) => {
                error!("{why}; the last job stays");
                return self.nodes.on_job(now.mono, false);
            }
        };
        if self.work.dead {
            self.work.made = None;
        }
        let (tip_is_new, refresh) = (self.work.tip() != Some(parent), self.config.refresh);
        self.work.template = Some(settled.clone());
        if tip_is_new || Work::is_due(self.work.asked, now.mono, refresh) {
            self.work.asked = Some(now.mono);
            for index in 0..self.daemons.len() {
                self.ask_daemon(index, parent);
            }
        }
        let made = self.work.made.as_ref().filter(|made| made.parent == parent);
        if tip_is_new || Work::is_due(made.map(|made| made.when), now.mono, refresh) {
            self.work.waiting = self.work.waiting.filter(|_| !tip_is_new).or(Some(now.mono));
        }
        if self.work.waiting.is_some() {
            self.publish_if_ready(now);
        } else {
            self.publish_if_other(now, &settled);
        }
        self.confirm(now, parent);
    }

    /// A node builds on `parent`: if miners do, their work is alive.
    fn confirm(&mut self, now: Now, parent: Hash) {
        if self.jobs.current().is_some_and(|job| job.template.parent == parent) {
            self.work.confirmed = Some(now.mono);
        }
    }

    /// Stops handing out work on a tip that no node has confirmed for too long (FAILURES 23): it is
    /// most likely dead, and so is what is found on it.
    pub(super) fn stop_work_if_dead(&mut self, now: Now) {
        if self.work.dies_at(self.config.limits.tip_age).is_none_or(|when| now.mono < when) {
            return;
        }
        self.work.dead = true;
        self.counters.work_stops += 1;
        error!(
            seconds = self.config.limits.tip_age.as_secs(),
            "no node confirms the tip that miners work on, and it is older than MAX_TIP_AGE: no \
             more work until one does; see to the nodes"
        );
        self.say_why_there_is_no_work();
    }

    /// There is a living tip again.
    fn revive(&mut self, now: Now, parent: Hash) -> bool {
        self.confirm(now, parent);
        let was_dead = core::mem::replace(&mut self.work.dead, false);
        if was_dead {
            info!("a node confirms the tip again: there is work again");
        }
        was_dead
    }

    /// A daemon answered: the last piece of a waiting job, or news for a published one.
    pub(super) fn on_commitment(&mut self, now: Now) {
        if self.work.waiting.is_some() {
            return self.publish_if_ready(now);
        }
        if let Some(settled) = self.work.template.clone() {
            self.publish_if_other(now, &settled);
        }
    }

    /// A job beside the ordinary ones, for what cannot wait: each bid is good for one tip.
    fn publish_if_other(&mut self, now: Now, settled: &Settled) {
        let stakes = Stakes::of(settled, &self.choose(settled));
        if self.work.made.as_ref().is_none_or(|made| made.stakes != stakes) {
            self.publish(now, settled);
        }
    }

    pub(super) fn publish_if_ready(&mut self, now: Now) {
        let Some(since) = self.work.waiting else { return };
        let Some(settled) = self.work.template.clone() else { return };
        let all_answered = self.daemons.iter().all(|daemon| !daemon.is_awaited());
        if all_answered || now.mono.since(since) >= self.config.limits.commitment_wait {
            self.work.waiting = None;
            self.publish(now, &settled);
        }
    }

    /// Holds the auction over the bids of a plain template (BIP-0301): winners stay, losers and
    /// what spends from them leave. Whoever gives a whole coinbase has held it already.
    pub(super) fn settle_bids(&self, template: Arc<Template>) -> Result<Settled, NoJob> {
        if let Some(coinbase) = &template.given {
            let commitment =
                |output: &bitcoin::TxOut| match CoinbaseMessage::parse(&output.script_pubkey)? {
                    CoinbaseMessage::M7(commitment) => Some(commitment),
                    CoinbaseMessage::M1(_)
                    | CoinbaseMessage::M2(_)
                    | CoinbaseMessage::M3(_)
                    | CoinbaseMessage::M4(_) => None,
                };
            let given = coinbase.outputs().iter().filter_map(commitment).collect();
            let bids = template.transactions.iter().filter_map(|transaction| {
                let bid = Bid::parse(transaction.note.as_ref()?)?;
                Some((bid.commitment, transaction.fee))
            });
            let bids = bids.collect();
            return Ok(Settled {
                whole: Arc::clone(&template),
                template,
                given,
                bids,
                alone: false,
            });
        }
        let transactions: Vec<AuctionTx> = template
            .transactions
            .iter()
            .map(|transaction| AuctionTx {
                m8: transaction.note.as_ref().and_then(|note| Bid::parse(note)),
                fee_sat: transaction.fee,
                depends: transaction.depends.clone(),
            })
            .collect();
        let parent = BlockHash::from_byte_array(template.parent);
        let outcome = auction::settle(self.config.blind, parent, &transactions)?;
        let bid = |winner: &auction::Winner| (winner.commitment, winner.fee_sat);
        let bids = outcome.winners.iter().map(bid).collect();
        let whole = Arc::clone(&template);
        let untouched = outcome.dropped.is_empty();
        let template =
            if untouched { template } else { Arc::new(template.keep_only(&outcome.kept)) };
        Ok(Settled { whole, template, given: Vec::new(), bids, alone: false })
    }

    fn choose(&self, settled: &Settled) -> Choice {
        let bare = settled.alone || self.work.is_bare(settled.template.parent);
        let daemons: &[_] = if bare { &[] } else { &self.daemons };
        let own: Vec<Candidate> = daemons
            .iter()
            .enumerate()
            .filter_map(|(sidechain, daemon)| {
                let commitment = daemon.commitment(settled.template.parent)?;
                let priority = self.config.sidechains[sidechain].priority;
                Some(Candidate { sidechain, priority, commitment })
            })
            .collect();
        policy::choose(&settled.given, &settled.won(), &own)
    }

    /// The output that is ours to add. What the node gave stands in its coinbase already.
    fn commitment_script(&self, chosen: &policy::Chosen) -> Option<ScriptBuf> {
        match chosen.provenance {
            Provenance::Own { sidechain } => {
                let header = self.config.sidechains[sidechain].header;
                Some(chosen.commitment.to_script_with(header))
            }
            Provenance::Auction => Some(chosen.commitment.to_script()),
            Provenance::Template => None,
        }
    }

    pub(super) fn publish(&mut self, now: Now, settled: &Settled) {
        let template = &settled.template;
        let same_tip =
            self.jobs.current().is_some_and(|job| job.template.parent == template.parent);
        if same_tip && !self.jobs.has_room() {
            warn!("this tip has as many jobs as can be honoured: miners keep the last one");
            if self.revive(now, template.parent) {
                self.give_work_again(now, true);
            }
            return;
        }
        let stakes = Stakes::of(settled, &self.choose(settled));
        self.work.made = Some(Made { parent: template.parent, stakes, when: now.mono });
        let draft = self.draft(settled);
        self.nodes.on_job(now.mono, draft.is_ok());
        let draft = match draft {
            Ok(draft) => draft,
            Err(why) => return error!("{why}; the last job stays"),
        };
        let fewer = self.with_fewer_bids(settled, &draft.coinbase);
        let lean = fewer.and_then(|fewer| match self.draft(&fewer) {
            Ok(lean) => Some((lean, fewer)),
            Err(why) => {
                error!("{why}; small firmware gets no work");
                None
            }
        });
        let lean_bids = lean.as_ref().map_or(settled.bids.len(), |(_, fewer)| fewer.bids.len());
        let next = self.jobs.next_sequence();
        self.note_commitments(&draft.choice, next);
        let lean = lean.map(|(lean, fewer)| {
            self.note_commitments(&lean.choice, next);
            (fewer.template, lean.coinbase)
        });
        let commitments = shown(&draft.choice);
        let messages = wishes::shown(draft.coinbase.outputs());
        let (job, clean) = self.jobs.publish(now.mono, Arc::clone(template), draft.coinbase, lean);
        let was_dead = self.revive(now, template.parent);
        self.counters.jobs += 1;
        info!(
            job = %job.id,
            height = template.height,
            clean,
            alone = settled.alone,
            transactions = template.transactions.len(),
            value = template.value,
            bids = settled.bids.len(),
            lean_bids,
            commitments,
            messages,
            "new job"
        );
        self.broadcast(now, &job, clean);
        if template.takes_proposals {
            let (node, extras) = (self.nodes.followed(), draft.extras);
            self.proposals.offer(now.mono, Proposal { node, job, extras });
        }
        if was_dead {
            self.give_work_again(now, false);
        }
        self.listen_if_ready();
    }

    /// Makes the jobs of this tip without what they need not have, from now on.
    pub(super) fn work_without_extras(&mut self, now: Now, parent: Hash) {
        self.work.bare = Some(parent);
        if let Some(settled) = self.work.template.clone()
            && settled.template.parent == parent
        {
            self.publish(now, &settled);
        }
    }

    /// What a job of `settled` is made from; an error when its block could be lost.
    pub(super) fn draft(&mut self, settled: &Settled) -> Result<Draft, NoJob> {
        let template = &settled.template;
        let choice = self.choose(settled);
        let scripts = |keep: fn(&policy::Chosen) -> bool| {
            let chosen = choice.chosen.iter().filter(|chosen| keep(chosen));
            chosen.filter_map(|chosen| self.commitment_script(chosen)).collect::<Vec<_>>()
        };
        let commitments = scripts(|_| true);
        // No transaction pays for our own, so the block is valid without them.
        let own = scripts(|chosen| matches!(chosen.provenance, Provenance::Own { .. }));
        let wishes =
            if settled.alone { Vec::new() } else { self.granted_wishes(template, &commitments) };
        let optional = [wishes.clone(), own].concat();
        let all = [wishes, commitments].concat();
        let mut plan = CoinbasePlan::new(template, self.generation, &self.config.payout, all);
        plan.let_stay_out(&optional);
        let coinbase = Coinbase::build(&plan);
        let extras = !optional.is_empty();
        is_sound(template, &coinbase).map(|()| Draft { choice, coinbase, extras })
    }

    pub(super) fn retire_jobs(&mut self, now: Now) {
        // Most wakes are for a miner's pace, and what follows visits every session.
        if self.jobs.retire(now.mono).is_empty() {
            return;
        }
        self.ledger.forget_unless(|parent| self.jobs.has_parent(parent));
        let oldest = self.jobs.oldest();
        for daemon in &mut self.daemons {
            daemon.blocks.forget_before(oldest);
        }
        self.leases.release(oldest);
        for session in self.sessions.values_mut() {
            session.forget_before(oldest);
        }
        self.forget_remains();
    }
}

fn shown(choice: &Choice) -> String {
    if choice.chosen.is_empty() {
        return "none".to_owned();
    }
    let each = choice.chosen.iter().map(|chosen| {
        let by = match chosen.provenance {
            Provenance::Template => "template",
            Provenance::Auction => "bid",
            Provenance::Own { .. } => "own",
        };
        format!("{} ({by})", chosen.commitment)
    });
    each.collect::<Vec<_>>().join(", ")
}
