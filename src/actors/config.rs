//! Section `[actors]` of the configuration. The defaults and their reasons are in `config/demarche.toml`.

use std::path::PathBuf;

use serde::Deserialize;

/// Who is recognised besides the built-in dictionary.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActorsConfig {
    /// Dictionary files in the form of `config/actors/*.toml`, laid over the built-in ones in this order.
    pub dictionary: Vec<PathBuf>,
}
