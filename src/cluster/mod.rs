//! Stories: which alerts are about the same event, decided as they come. Pure: time is a value of each sighting, and
//! what the stories know can be rebuilt from their sightings ([`Stories::remember`]).
//!
//! A sighting is terms of its text with the actors and places it names ([`terms`]). It joins the most similar story
//! within the window, or begins one ([`stories`]). [`copies`] tells near-identical wire copies before anything is
//! scored; [`events`] decides what a story's new sighting is worth telling.

mod config;
pub mod copies;
pub mod events;
mod index;
pub mod stories;
pub mod terms;

pub use config::StoriesConfig;
pub use events::Event;
pub use stories::{Placement, Stories, Terms};
pub use terms::{Sighting, Vector};
