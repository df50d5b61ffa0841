//! What a miner says and hears: Stratum v1, JSON lines over TCP.
//!
//! **Invariant:** knows `mining`'s types, never the node or the pool; text and hex end here.

pub mod agent;
pub mod extranonce;
pub mod framing;
pub mod message;
pub mod reject;
pub mod session;
pub mod vardiff;
