//! The node as seen by the pool, and the sidechains' daemons beside it.
//!
//! **Invariant:** bytes of requests out, bytes of replies in; opens no connection and keeps no
//! time but what it is told.

pub mod confirmation;
pub mod failover;
pub mod follower;
pub mod notice;
pub mod proposal;
pub mod rpc;
pub mod sidechain;
pub mod submitter;
