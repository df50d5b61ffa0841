//! The laws, each judged on what an outsider saw, with code of its own.
//!
//! [`Panel`] shows every observation to [`casebook::Casebook`], which reads the bytes, and every
//! fact that comes of it to each oracle. A law that needs to know what the server thinks is no
//! law. **Invariant:** nothing of the server's arithmetic is used in here: headers, targets,
//! coinbases and auctions are worked out anew, from the wire, with `simminer`'s and the simulated
//! enforcer's code.

mod blocks;
pub mod casebook;
mod jobs;
pub mod journal;
mod liveness;
pub(crate) mod pace;
mod proposals;
mod reading;
mod replies;
mod resources;
mod shares;
pub mod sometimes;
mod templates;

use std::collections::BTreeMap;
use std::fmt;

use bitcoin::BlockHash;

use crate::plan::{Plan, ServerPlan, What};
use crate::sim::World;
use crate::sim::disk::SimDisk;
use crate::sim::observe::{Observation, Phase};
use crate::sim::queue::Micros;
use casebook::{Casebook, Fact};
use sometimes::Sometimes;

/// A law that did not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken {
    /// Its name.
    pub law: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}  {}", self.law, self.what)
    }
}

/// Breaks `law` unless `holds`.
pub(crate) fn hold(
    law: &'static str,
    holds: bool,
    what: impl FnOnce() -> String,
) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { law, what: what() }) }
}

/// What is true while an observation is judged, whatever the server believes.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The time.
    pub now: Micros,
    /// The phase.
    pub phase: Phase,
    /// How the run was set up.
    pub plan: &'a Plan,
    /// The settings of the process that runs.
    pub settings: &'a ServerPlan,
    /// The node and its chain, and the sidechains.
    pub world: &'a World,
    /// The server's disk.
    pub disk: &'a SimDisk,
    /// The number of the server's process.
    pub run: u32,
    /// What the server's wall clock says.
    pub wall: u32,
    /// The connections that the server itself counts; none while no process runs.
    pub sessions: Option<u64>,
}

/// Judges some laws.
pub trait Oracle: fmt::Debug {
    /// One more fact.
    fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) -> Result<(), Broken>;

    /// Something that is counted beside, under a name of [`sometimes::EXPECTED`].
    fn count(&self) -> Option<(&'static str, u64)> {
        None
    }

    /// There is nothing more to see.
    fn finish(&mut self, _scene: &Scene<'_>, _book: &Casebook) -> Result<(), Broken> {
        Ok(())
    }
}

/// All oracles.
#[derive(Debug)]
pub struct Panel {
    book: Casebook,
    oracles: Vec<Box<dyn Oracle>>,
    sometimes: Sometimes,
    drained_at: Micros,
}

impl Panel {
    /// Nothing was seen yet.
    pub fn new(plan: &Plan) -> Self {
        Self {
            book: Casebook::new(plan),
            oracles: vec![
                Box::new(replies::Replies::default()),
                Box::new(shares::Shares::default()),
                Box::new(jobs::Jobs::default()),
                Box::new(blocks::Blocks::default()),
                Box::new(journal::Journal::default()),
                Box::new(resources::Resources::default()),
                Box::new(liveness::Liveness::default()),
                Box::new(pace::Pace::default()),
                Box::new(templates::Templates::default()),
                Box::new(proposals::Proposals::default()),
            ],
            sometimes: Sometimes::default(),
            drained_at: Micros(0),
        }
    }

    /// Shows one observation to everybody.
    pub fn see(&mut self, scene: &Scene<'_>, what: &Observation) -> Result<(), Broken> {
        if let Observation::Phase(Phase::Drain) = what {
            self.drained_at = scene.now;
        }
        for fact in self.book.read(scene, what)? {
            for oracle in &mut self.oracles {
                oracle.see(scene, &self.book, &fact)?;
            }
            self.sometimes.see(scene, &self.book, &fact);
        }
        Ok(())
    }

    /// An item of the plan came to bear.
    pub fn felt(&mut self, what: &What) {
        self.sometimes.felt(what);
    }

    /// The node took this block back, as an enforcer makes it do.
    pub fn invalidated(&mut self, block: BlockHash) {
        self.book.invalidated.insert(block);
        self.sometimes.count("block invalidated after it was accepted");
    }

    /// When the miners left.
    pub const fn drained_at(&self) -> Micros {
        self.drained_at
    }

    /// The run is over.
    pub fn finish(&mut self, scene: &Scene<'_>) -> Result<(), Broken> {
        for oracle in &mut self.oracles {
            oracle.finish(scene, &self.book)?;
        }
        Ok(())
    }

    /// What happened how often.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let each = self.oracles.iter().filter_map(|oracle| oracle.count());
        let each = each.filter(|(_, count)| *count > 0);
        let mut counts = self.sometimes.counts();
        counts.extend(each.map(|(name, count)| (name.to_owned(), count)));
        counts
    }
}
