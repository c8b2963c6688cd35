//! What can be wrong with a document, said so that a person knows what to do next.

/// The layer that gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Bytes to text.
    Decode,
    /// Text to a small well-formed document.
    Repair,
    /// feed-rs over the small document.
    Feed,
    /// JSON Feed.
    Json,
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Decode => "decode",
            Self::Repair => "repair",
            Self::Feed => "feed-rs",
            Self::Json => "json",
        })
    }
}

/// What a document that is no feed looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookalike {
    /// A web page.
    Html,
    /// A page that asks for a captcha, cookies or JavaScript.
    Challenge,
    /// A list of feeds.
    Opml,
    /// A sitemap or sitemap index.
    Sitemap,
    /// JSON, but not a JSON Feed.
    Json,
    /// XML with a root element that no feed format uses (at most 40 characters of its name).
    Xml(String),
    /// Compressed data, an image, a PDF and the like.
    Binary(&'static str),
    /// Plain text.
    Text,
}

impl Lookalike {
    /// What to do about it, as a fragment that fits after a semicolon.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Html => "look for the feed's address in the page (`feeds discover`)",
            Self::Challenge => "the site turns robots away: ask it for access, or use another source of the same news",
            Self::Opml => "a list of feeds: import it (`feeds import`)",
            Self::Sitemap => "a sitemap: look for a feed on the same site (`feeds discover`)",
            Self::Json => "not a JSON Feed: look for the site's RSS, Atom or JSON Feed address",
            Self::Xml(_) => "not RSS, Atom or CDF: check the address",
            Self::Binary(_) => "check the address, and that the server names its Content-Encoding",
            Self::Text => "check the address: the server may be reporting an error in words",
        }
    }
}

impl std::fmt::Display for Lookalike {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Html => f.write_str("a web page"),
            Self::Challenge => f.write_str("a captcha or browser check"),
            Self::Opml => f.write_str("an OPML list"),
            Self::Sitemap => f.write_str("a sitemap"),
            Self::Json => f.write_str("some other JSON"),
            Self::Xml(root) => write!(f, "XML with the root <{root}>"),
            Self::Binary(what) => f.write_str(what),
            Self::Text => f.write_str("plain text"),
        }
    }
}

/// Three answers to "what is wrong", for health and back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something else was served in the feed's place.
    NotAFeed,
    /// Nothing was served, or a feed with neither title nor entries.
    Empty,
    /// A feed so damaged that nothing could be saved.
    Broken,
}

/// Why a document gave no feed. Positions are byte offsets in the text that the layer saw.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No bytes, or blanks only.
    #[error("parse an empty document ({bytes} bytes, decode layer); try again later, the server may be restarting")]
    NoContent {
        /// Length of the body.
        bytes: usize,
    },
    /// A feed without title and without entries.
    #[error("find a title or an entry in the feed ({layer} layer, position {position}); see the document itself")]
    Hollow {
        /// The layer that read the document to its end.
        layer: Layer,
        /// Where the reading ended.
        position: usize,
    },
    /// Another kind of document.
    #[error("find a feed: the document looks like {looks_like} ({layer} layer, position {position}); {}", looks_like.remedy())]
    NotAFeed {
        /// What it looks like.
        looks_like: Lookalike,
        /// The layer that noticed.
        layer: Layer,
        /// Where it noticed.
        position: usize,
    },
    /// Damage beyond repair.
    #[error("parse the feed ({layer} layer, position {position}): {reason}")]
    Broken {
        /// The layer that gave up.
        layer: Layer,
        /// Where it gave up.
        position: usize,
        /// What was wrong there.
        reason: String,
    },
}

impl ParseError {
    /// Not a feed, empty, or broken.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAFeed { .. } => ErrorKind::NotAFeed,
            Self::NoContent { .. } | Self::Hollow { .. } => ErrorKind::Empty,
            Self::Broken { .. } => ErrorKind::Broken,
        }
    }

    /// The layer that gave up.
    pub fn layer(&self) -> Layer {
        match self {
            Self::NoContent { .. } => Layer::Decode,
            Self::Hollow { layer, .. } | Self::NotAFeed { layer, .. } | Self::Broken { layer, .. } => *layer,
        }
    }
}
