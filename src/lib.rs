//! demarche watches news feeds for diplomacy.
//!
//! The modules stand in the order of the flow.

pub mod classify;
pub mod eval;
pub mod item;
pub mod train;
