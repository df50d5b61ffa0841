//! Stratum v1 server for Bitcoin nodes with Drivechain (BIP300/301).
//!
//! The crate is a pure core and a thin shell. The core, behind [`Pool`], takes events with their
//! time and gives actions back; it opens no socket, reads no clock and touches no file. The shell,
//! [`runtime`] behind the default feature `runtime`, performs the actions and brings the events.
//!
//! # Map, in reading order
//!
//! * [`clock`]: the two clocks, as numbers.
//! * [`mining`]: from template to block: difficulty, template, coinbase, merkle, job, share, block.
//! * [`bmm`]: blind merged mining: messages, rules, auction, policy.
//! * [`stratum`]: what a miner says and hears: framing, messages, session, extranonce leases.
//! * [`node`]: the node as seen by the pool: RPC bytes, follower, submitter; sidechain daemons.
//! * [`journal`]: what must outlive the process: generation and found blocks.
//! * [`config`]: what the core is told once, and the limits it keeps.
//! * [`pool`]: joins them.
//! * `settings`, [`runtime`]: the process around the core; `doctor`: what looks whether it can run.
//!
//! # Glossary
//!
//! * *template*: a `getblocktemplate` reply that passed its checks.
//! * *job*: a template with our coinbase, as sent by `mining.notify`.
//! * *candidate*: a submission that parsed. A *share* is a candidate that met its target. A
//!   *block* is a candidate that met the network's target, whatever else is wrong with it.
//! * *session*: one miner's connection. *Lease*: its extranonce1, unique while any job lives
//!   that was offered under it.
//! * *grace*: the time after a tip change in which shares for the old tip are still credited.
//! * *slot*: a sidechain's number. *h\**: the hash a sidechain asks miners to commit to. *Bid*:
//!   a transaction that pays for that (M8).
//! * *generation*: how often this data directory was started; makes job ids and coinbases of
//!   different runs differ.

pub mod bmm;
pub mod clock;
pub mod config;
#[cfg(feature = "runtime")]
pub mod doctor;
pub mod journal;
pub mod mining;
pub mod node;
pub mod pool;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "runtime")]
pub mod settings;
pub mod stratum;

pub use pool::Pool;
