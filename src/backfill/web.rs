//! Sources on the web.

use serde::{Deserialize, Serialize};

/// What a source on the web has still to ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {}
