//! From template to block: the coin's side of the pool, as arithmetic on bytes.
//!
//! **Invariant:** knows no session, no connection and no clock; decides by 256-bit integers and
//! satoshis, never by floats.

pub mod address;
pub mod alone;
pub mod block;
pub mod coinbase;
pub mod difficulty;
pub mod form;
pub mod given;
pub mod hash;
pub mod hex;
pub mod job;
pub mod ledger;
pub mod merkle;
pub mod script_sig;
pub mod share;
pub mod template;
pub mod witness;
