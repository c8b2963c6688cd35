//! demarche watches news feeds for diplomacy.
//!
//! The modules stand in the order of the flow.

pub mod item;
pub mod parse;
