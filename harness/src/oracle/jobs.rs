//! JOB-2, JOB-4, EXTRA-1: names that mean one thing, and parts of the search space that nobody
//! else has.
//!
//! That every job is honoured as long as it should be (JOB-1) is judged with the shares: SHARE-2
//! wants each submission taken against which nothing speaks.

use std::collections::BTreeMap;

use bitcoin::hashes::{Hash as _, sha256};

use super::casebook::{Asks, Casebook, Fact, Given};
use super::{Broken, Oracle, Scene, hold};
use crate::sim::observe::{Conn, Observation};
use crate::sim::queue::Micros;

/// A lease that ended.
#[derive(Debug)]
struct Former {
    conn: Conn,
    /// Jobs that were offered under it: their parents.
    parents: Vec<[u8; 32]>,
}

/// What a job id stands for.
#[derive(Debug)]
struct Known {
    /// The process that gave it.
    run: u32,
    /// By the miners' family: small firmware may be given a leaner body, all of a kind the same.
    bodies: BTreeMap<Option<String>, sha256::Hash>,
}

/// What a connection was offered: its extranonce1, and the parents of its jobs.
type Offered = (Option<Vec<u8>>, Vec<[u8; 32]>);

/// Judges names and leases.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Every job of every run, and a digest of what each kind of firmware was given as such.
    known: BTreeMap<String, Known>,
    /// Who has which extranonce1 in this run.
    holders: BTreeMap<Vec<u8>, Conn>,
    formers: BTreeMap<Vec<u8>, Former>,
    /// What each connection was offered.
    offered: BTreeMap<Conn, Offered>,
    /// The parent of the newest job, and since when it is that.
    tip: Option<[u8; 32]>,
    left: BTreeMap<[u8; 32], Micros>,
}

impl Oracle for Jobs {
    fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) -> Result<(), Broken> {
        match fact {
            Fact::Seen(Observation::Started { .. }) => {
                let known = core::mem::take(&mut self.known);
                *self = Self { known, ..Self::default() };
            }
            Fact::Seen(Observation::Closed { conn } | Observation::Closing { conn, .. }) => {
                self.gone(*conn);
            }
            Fact::Answered(reply) if matches!(reply.request.asks, Asks::Subscribe) => {
                if let Some(one) = book.sessions.get(&reply.conn).and_then(|all| all.one.clone()) {
                    self.leased(scene, reply.conn, one)?;
                }
            }
            Fact::Job(conn, given, first) => {
                let miner = book.sessions.get(conn).map(|session| session.miner);
                self.names_one_thing(scene, miner, given)?;
                self.job(scene, *conn, given, *first)?;
            }
            Fact::Seen(_)
            | Fact::Asked(..)
            | Fact::Answered(_)
            | Fact::Notified(..)
            | Fact::Logged(_) => {}
        }
        Ok(())
    }
}

impl Jobs {
    fn gone(&mut self, conn: Conn) {
        if let Some((Some(one), parents)) = self.offered.remove(&conn) {
            self.holders.remove(&one);
            self.formers.insert(one, Former { conn, parents });
        }
    }

    fn leased(&mut self, scene: &Scene<'_>, conn: Conn, one: Vec<u8>) -> Result<(), Broken> {
        let holder = self.holders.get(&one).copied().filter(|holder| *holder != conn);
        hold("EXTRA-1", holder.is_none(), || {
            format!("extranonce1 {one:02x?} is given to conn {conn} while {holder:?} has it")
        })?;
        if let Some(former) = self.formers.get(&one) {
            let grace = scene.settings.limits.grace_ms * 1_000;
            let lives = |parent: &[u8; 32]| {
                self.tip == Some(*parent)
                    || self.left.get(parent).is_some_and(|left| scene.now.since(*left) <= grace)
            };
            let lives = former.parents.iter().any(lives);
            hold("EXTRA-1", !lives, || {
                format!(
                    "extranonce1 {one:02x?} is given to conn {conn} while a job that conn {} was \
                     offered under it still counts",
                    former.conn
                )
            })?;
        }
        self.holders.insert(one.clone(), conn);
        self.offered.entry(conn).or_default().0 = Some(one);
        Ok(())
    }

    fn names_one_thing(
        &mut self,
        scene: &Scene<'_>,
        miner: Option<u64>,
        given: &Given,
    ) -> Result<(), Broken> {
        let job = &given.job;
        let digest = sha256::Hash::hash(
            format!(
                "{:?}{:?}{:?}{:?}{}{}{}",
                job.previous_block,
                job.coinbase1,
                job.coinbase2,
                job.branch,
                job.version,
                job.bits,
                job.time
            )
            .as_bytes(),
        );
        let plans = &mut scene.plan.miners.iter();
        let family = plans.find(|plan| Some(plan.id) == miner).and_then(|plan| plan.family.clone());
        let known = self.known.entry(job.id.clone());
        let known = known.or_insert_with(|| Known { run: scene.run, bodies: BTreeMap::default() });
        let same = *known.bodies.entry(family).or_insert(digest) == digest;
        hold("JOB-2", same && known.run == scene.run, || {
            format!("job {} is two different jobs", job.id)
        })
    }

    fn job(
        &mut self,
        scene: &Scene<'_>,
        conn: Conn,
        given: &Given,
        first: bool,
    ) -> Result<(), Broken> {
        let job = &given.job;
        if first && self.tip != Some(job.previous_block) {
            hold("JOB-5", job.clean, || {
                format!("job {} has another parent than the last and is not clean", job.id)
            })?;
            if let Some(tip) = self.tip.replace(job.previous_block) {
                self.left.insert(tip, scene.now);
            }
        }
        self.offered.entry(conn).or_default().1.push(job.previous_block);
        Ok(())
    }
}
