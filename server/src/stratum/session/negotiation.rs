//! What a miner and the server agree on: which firmware it is, whom its work pays, what it may roll
//! and how hard its shares are.
//!
//! Any of it may come in any order and again, so each answer stands by itself.

use std::sync::Arc;

use super::{Demand, Payment, Session};
use crate::mining::address;
use crate::mining::difficulty::Difficulty;
use crate::mining::form::{Form, Payee};
use crate::mining::job::VERSION_ROLLING_MASK;
use crate::stratum::message::{Configure, RequestId};
use crate::stratum::reject::Reject;
use crate::stratum::{agent, vardiff};

impl Session {
    pub(super) fn learn_agent(&mut self, agent: String) {
        let family = agent::family(&agent);
        self.form = Arc::new(Form { budget: family.budget, ..Form::clone(&self.form) });
        if let Some(least) = family.difficulty_min {
            // Where the operator's bounds do not allow it, nothing can be done for that miner.
            self.vardiff.keep_above(Difficulty::from(least));
        }
        self.agent = agent;
    }

    pub(super) fn authorize(
        &mut self,
        id: RequestId<'_>,
        worker: String,
        password: &str,
    ) -> Demand<'static> {
        if self.has_worker(&worker) {
            self.answer(id, "true");
            return Demand::Nothing;
        }
        let barred = if self.workers.len() >= self.workers_max {
            Some(Reject::TooManyWorkers)
        } else if worker.len() > self.worker_bytes_max {
            Some(Reject::NameTooLong { most: self.worker_bytes_max })
        } else {
            self.settle_payee(&worker).err()
        };
        if let Some(why) = barred {
            self.refuse(id, &why);
            return Demand::NotAuthorized(why);
        }
        let (fixed, floor) = vardiff::wishes(password);
        if let Some(floor) = floor {
            self.vardiff.keep_above(floor);
        }
        if let Some(fixed) = fixed {
            self.vardiff.fix(fixed);
        }
        self.answer(id, "true");
        self.workers.reserve_exact(1);
        self.workers.push(worker.clone());
        Demand::Authorized(worker)
    }

    /// One coinbase a session, so one payee: all its workers must name the same address.
    fn settle_payee(&mut self, worker: &str) -> Result<(), Reject> {
        let Payment::Solo { network, fee_basis_points } = self.payment else { return Ok(()) };
        let script = address::payee(worker, network).map_err(Reject::Payee)?;
        let payee = Some(Payee { script, fee_basis_points });
        if self.form.payee.is_some() && self.form.payee != payee {
            return Err(Reject::OtherPayee);
        }
        self.form = Arc::new(Form { payee, ..Form::clone(&self.form) });
        Ok(())
    }

    /// Answers only what was asked: Whatsminers loop over keys they did not ask for (SRI 1173).
    pub(super) fn configure(&mut self, wishes: &Configure) -> String {
        let mut result = serde_json::Map::new();
        for name in &wishes.extensions {
            let granted = match name.as_str() {
                "version-rolling" => {
                    let mask = VERSION_ROLLING_MASK & wishes.mask.unwrap_or(u32::MAX);
                    let enough = mask != 0 && mask.count_ones() >= wishes.bits_min.unwrap_or(0);
                    self.mask = if enough { mask } else { 0 };
                    self.mask_told = enough.then_some(mask);
                    enough
                }
                "minimum-difficulty" => {
                    wishes.difficulty_min.is_some_and(|floor| self.vardiff.keep_above(floor))
                }
                // The one is kept by never changing it; the other only tells.
                "subscribe-extranonce" | "info" => true,
                _ => false,
            };
            result.insert(name.clone(), granted.into());
            if granted && name == "version-rolling" {
                let mask = format!("{:08x}", self.mask);
                result.insert("version-rolling.mask".to_owned(), mask.into());
            }
        }
        serde_json::Value::from(result).to_string()
    }
}
