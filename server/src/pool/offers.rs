//! A job on a miner's wire: to all when it is published, to one when its terms change.

use core::ops::Bound;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};

use super::Pool;
use super::action::{Action, CloseReason};
use super::event::ConnId;
use crate::clock::{Instant, Now};
use crate::mining::difficulty::Difficulty;
use crate::mining::form::Form;
use crate::mining::job::{Job, JobBook};
use crate::stratum::message;
use crate::stratum::session::Session;

/// Forms of one job and whether they are clean, as they were made for the first session that needed
/// them; none for one that the job cannot have.
type Forms = BTreeMap<(Arc<Form>, u8, bool), Option<(Arc<Job>, Bytes)>>;

/// The job's coinbase does not fit into a session's firmware.
struct TooLarge;

/// A job for one session or more.
#[derive(Debug)]
struct Offer {
    now: Instant,
    job: Arc<Job>,
    /// Once for the job: the division is dear.
    ceiling: Difficulty,
    /// In place of everything before, whatever that is.
    clean: bool,
    forms: Forms,
}

impl Offer {
    fn new(now: Instant, job: &Arc<Job>, clean: bool) -> Self {
        let ceiling = job.template.target.to_difficulty();
        Self { now, job: Arc::clone(job), ceiling, clean, forms: Forms::new() }
    }

    /// What `session` is sent: the job, behind what else waits for it; nothing when it was given
    /// the job as often as can be told apart, for the next is not far. Clean, too, when what it was
    /// given last is void: it may have missed the job that said so.
    fn form(&mut self, session: &mut Session, jobs: &JobBook) -> Result<Option<Bytes>, TooLarge> {
        let Some(revision) = session.next_revision(&self.job) else { return Ok(None) };
        let job = &self.job;
        let clean = self.clean || !session.newest_job().is_some_and(|known| jobs.is_live(known));
        let key = (Arc::clone(session.form()), revision, clean);
        let formed = self.forms.entry(key).or_insert_with_key(|(form, revision, clean)| {
            let formed = job.formed(form, *revision)?;
            let line = message::notify(&formed, *clean);
            Some((formed, line))
        });
        let Some((formed, line)) = formed else { return Err(TooLarge) };
        let difficulty = session.vardiff.wanted().min(self.ceiling);
        session.announce(self.now, formed, difficulty);
        Ok(Some(session.take_outbox_with(line)))
    }
}

/// A job on its way to everybody who mines.
#[derive(Debug)]
pub(super) struct Broadcast {
    offer: Offer,
    /// Who is to be offered it yet: from the first of each, to before the second.
    rest: VecDeque<(ConnId, Option<ConnId>)>,
    /// Some may be offered it now.
    due: bool,
}

impl Broadcast {
    fn new(offer: Offer, from: ConnId) -> Self {
        let around = Some((ConnId(0), Some(from))).filter(|_| from > ConnId(0));
        Self { offer, rest: core::iter::once((from, None)).chain(around).collect(), due: true }
    }
}

impl Pool {
    /// Sends a new job to everybody who mines, a few at a time. If the last one is still on its
    /// way, who did not get it comes first.
    pub(super) fn broadcast(&mut self, now: Now, job: &Arc<Job>, clean: bool) {
        let before = self.broadcast.as_ref().and_then(|broadcast| broadcast.rest.front());
        let from = before.map_or(ConnId(0), |(from, _)| *from);
        self.broadcast = Some(Broadcast::new(Offer::new(now.mono, job, clean), from));
    }

    /// Whether offers of a broadcast are to be formed in this event.
    pub(super) fn has_offers(&self) -> bool {
        self.broadcast.as_ref().is_some_and(|broadcast| broadcast.due)
    }

    /// Since when a broadcast waits for its next turn.
    pub(super) fn next_offers(&self) -> Option<Instant> {
        self.broadcast.as_ref().map(|broadcast| broadcast.offer.now)
    }

    /// Lets a broadcast go on.
    pub(super) fn go_on_with_offers(&mut self) {
        if let Some(broadcast) = &mut self.broadcast {
            broadcast.due = true;
        }
    }

    /// Forms the next offers of the broadcast under way, which ends after the last.
    pub(super) fn form_offers(&mut self) {
        let Some(mut broadcast) = self.broadcast.take().filter(|_| !self.work.is_dead()) else {
            return;
        };
        let Some((from, to)) = broadcast.rest.pop_front() else { return };
        let (mut slow, mut unfit) = (Vec::new(), Vec::new());
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.sessions.range_mut((Bound::Included(from), to));
        let mut mining = rest.filter(|(_, session)| session.has_work());
        let at_once = self.config.limits.offers_at_once.max(1);
        for (&conn, session) in mining.by_ref().take(at_once) {
            if !session.is_behind(&broadcast.offer.job) {
                continue;
            }
            match broadcast.offer.form(session, &self.jobs) {
                Ok(bytes) => self.actions.extend(bytes.map(|bytes| Action::Send { conn, bytes })),
                Err(TooLarge) => unfit.push(conn),
            }
            if session.unflushed_bytes() > self.config.limits.outbox_bytes {
                slow.push(conn);
            }
        }
        if let Some((next, _)) = mining.next() {
            let to = if let Bound::Excluded(to) = to { Some(to) } else { None };
            broadcast.rest.push_front((*next, to));
        }
        for conn in slow {
            self.flush(conn);
        }
        for conn in unfit {
            self.refuse_work(conn, &broadcast.offer.job);
        }
        if !broadcast.rest.is_empty() {
            broadcast.due = false;
            self.broadcast = Some(broadcast);
        }
    }

    /// Forms all that is left of a broadcast: what is done next is done after it.
    fn finish_broadcast(&mut self) {
        while self.broadcast.is_some() {
            self.form_offers();
        }
    }

    /// Sends the current job to a session that has none or needs it on other terms: it subscribed
    /// and authorized just now, or its difficulty changed. A first job is always clean: whatever
    /// the miner did before was for somebody else.
    pub(super) fn bring_up_to_date(&mut self, now: Instant, conn: ConnId) {
        let Some(session) = self.sessions.get(&conn).filter(|session| session.is_ready()) else {
            return;
        };
        let Some(job) = self.jobs.current().cloned() else { return };
        // Who speaks while a job is on its way to everybody need not wait for his turn.
        let is_new = !session.has_work() || session.is_behind(&job);
        // Most often nothing is new, and then the network's difficulty needs no division.
        if !is_new && session.vardiff.in_force() == Some(session.vardiff.wanted()) {
            return;
        }
        let offer = Offer::new(now, &job, !session.has_work());
        let difficulty = session.vardiff.wanted().min(offer.ceiling);
        if is_new || session.vardiff.in_force() != Some(difficulty) {
            self.offer(conn, offer);
        }
    }

    /// Sends the current job once more to who was given none for too long: the node is away, or
    /// looks for new transactions are rare.
    fn break_silence(&mut self, now: Instant, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let silence = self.config.limits.work_silence;
        if session.given.is_some_and(|given| given + silence <= now) {
            // Whether or not there is a job to give: the next look is as far away.
            session.given = Some(now);
            self.give_again(now, conn, false);
        }
    }

    /// Sends the current job once more; `clean` in place of everything before.
    fn give_again(&mut self, now: Instant, conn: ConnId, clean: bool) {
        let Some(job) = self.jobs.current().cloned() else { return };
        self.offer(conn, Offer::new(now, &job, clean));
    }

    fn offer(&mut self, conn: ConnId, mut offer: Offer) {
        if self.work.is_dead() {
            return;
        }
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        match offer.form(session, &self.jobs) {
            Ok(bytes) => self.actions.extend(bytes.map(|bytes| Action::Send { conn, bytes })),
            Err(TooLarge) => return self.refuse_work(conn, &offer.job),
        }
        self.flush(conn);
    }

    /// No job is better than one whose coinbase the firmware cuts off: all its work is rubbish.
    fn refuse_work(&mut self, conn: ConnId, job: &Job) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        self.counters.coinbases_too_large += 1;
        let bytes = job.coinbase.stripped_bytes();
        let agent = super::miners::shorten(session.agent());
        warn!(%conn, ?agent, bytes, "the coinbase does not fit into this firmware: no work");
        session.say(&message::show_message(&format!(
            "This block's coinbase of {bytes} bytes does not fit into this firmware ({agent}); \
             update it, or mine where fewer sidechains are committed to"
        )));
        self.close(conn, CloseReason::CoinbaseTooLarge);
    }

    /// The tip is dead, as far as anybody can tell: nobody gets work, and everybody hears why.
    /// Connections stay, for firmware that has another pool goes there by itself when this one
    /// falls silent, and finds its way back.
    pub(super) fn say_why_there_is_no_work(&mut self) {
        self.finish_broadcast();
        let line = message::show_message(
            "No node confirms the tip any more: no new work until one does; the operator knows",
        );
        let working: Vec<ConnId> = self
            .sessions
            .iter_mut()
            .filter(|(_, session)| session.has_work())
            .map(|(conn, session)| {
                session.say(&line);
                *conn
            })
            .collect();
        for conn in working {
            self.flush(conn);
        }
    }

    /// Who came while there was no work gets it; with `all`, everybody does.
    pub(super) fn give_work_again(&mut self, now: Now, all: bool) {
        self.finish_broadcast();
        let ready: Vec<(ConnId, bool)> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.is_ready())
            .map(|(conn, session)| (*conn, session.has_work()))
            .collect();
        for (conn, has_work) in ready {
            if !has_work {
                self.bring_up_to_date(now.mono, conn);
            } else if all {
                self.give_again(now.mono, conn, false);
            }
        }
    }

    /// Whoever mines is asked to come back, so that a restart costs seconds and not a time-out.
    pub(super) fn ask_to_reconnect(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(&conn).filter(|session| session.has_work()) {
            session.say(&message::reconnect());
        }
    }

    /// Looks at every session whose moment has come: its silence, and its pace.
    pub(super) fn look_at_miners(&mut self, now: Now) {
        while let Some(conn) = self.schedule.pop(now.mono) {
            let Some(session) = self.sessions.get_mut(&conn) else { continue };
            let limits = &self.config.limits;
            let overdue = if !session.is_ready() && session.since + limits.handshake <= now.mono {
                Some(CloseReason::Handshake)
            } else if session.heard + limits.idle <= now.mono {
                Some(CloseReason::Idle)
            } else {
                None
            };
            if let Some(why) = overdue {
                self.close(conn, why);
                continue;
            }
            session.vardiff.on_timer(now.mono);
            self.bring_up_to_date(now.mono, conn);
            self.break_silence(now.mono, conn);
            self.look_again(conn);
        }
    }

    /// Sees to it that `conn` is looked at in time.
    pub(super) fn look_again(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get(&conn) else { return };
        let limits = &self.config.limits;
        let silent = session.heard + limits.idle;
        let greeted = (!session.is_ready()).then(|| session.since + limits.handshake);
        let unheard = session.given.map(|given| given + limits.work_silence);
        let dues = [greeted, session.vardiff.due(), unheard].into_iter().flatten();
        self.schedule.no_later_than(conn, dues.fold(silent, Instant::min));
    }

    /// Shares of `conn` are refused again and again: fresh work, a fresh connection, then none.
    pub(super) fn on_reject(&mut self, now: Instant, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.rejects += 1;
        let (rejects, limits) = (session.rejects, &self.config.limits);
        if rejects == limits.rejects_resend && session.has_work() {
            info!(%conn, rejects, "shares are refused in a row: the work is sent afresh");
            self.give_again(now, conn, true);
        } else if rejects == limits.rejects_reconnect {
            self.ask_to_reconnect(conn);
        } else if rejects >= limits.rejects_close {
            self.close(conn, CloseReason::Rejects);
        }
    }
}
