//! Who may watch what passes between the pool and the shell, so that a test can hold the shell to
//! the contract that stands at [`Event`].
//!
//! A witness hears and says nothing: no answer of its own reaches pool or shell.

use crate::pool::action::Action;
use crate::pool::event::Event;

/// Sees every event and every action, in order. `()` looks away, and costs nothing.
pub trait Witness: Send {
    /// The pool is told this next.
    fn event(&mut self, event: &Event);

    /// The pool wants this done; it is done next.
    fn action(&mut self, action: &Action);
}

impl Witness for () {
    fn event(&mut self, _: &Event) {}

    fn action(&mut self, _: &Action) {}
}
