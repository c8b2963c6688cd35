//! The bundled sample: invented outlets, invented events. `config/demo/expected.json` says what is in it.

/// File name, media type, document.
pub(super) const FEEDS: [(&str, &str, &[u8]); 16] = [
    (
        "continental-wire-top.rss2.xml",
        "application/rss+xml",
        include_bytes!("../../../config/demo/continental-wire-top.rss2.xml"),
    ),
    (
        "continental-wire-world.rss2.xml",
        "application/rss+xml",
        include_bytes!("../../../config/demo/continental-wire-world.rss2.xml"),
    ),
    (
        "daybreak-africa.atom.xml",
        "application/atom+xml",
        include_bytes!("../../../config/demo/daybreak-africa.atom.xml"),
    ),
    ("grenzbote.rss1.rdf", "application/rdf+xml", include_bytes!("../../../config/demo/grenzbote.rss1.rdf")),
    ("harbour-ledger.rss2.xml", "application/rss+xml", include_bytes!("../../../config/demo/harbour-ledger.rss2.xml")),
    ("isobar-review.atom.xml", "application/atom+xml", include_bytes!("../../../config/demo/isobar-review.atom.xml")),
    (
        "khaleej-lantern.atom.xml",
        "application/atom+xml",
        include_bytes!("../../../config/demo/khaleej-lantern.atom.xml"),
    ),
    ("la-llanura.rss2.xml", "application/rss+xml", include_bytes!("../../../config/demo/la-llanura.rss2.xml")),
    ("meridian-world.rss2.xml", "application/rss+xml", include_bytes!("../../../config/demo/meridian-world.rss2.xml")),
    (
        "ministry-bulletin.rss2.xml",
        "application/rss+xml",
        include_bytes!("../../../config/demo/ministry-bulletin.rss2.xml"),
    ),
    (
        "north-quay-herald.rss2.xml",
        "application/rss+xml",
        include_bytes!("../../../config/demo/north-quay-herald.rss2.xml"),
    ),
    ("openfield.json", "application/feed+json", include_bytes!("../../../config/demo/openfield.json")),
    ("pacific-tide.json", "application/feed+json", include_bytes!("../../../config/demo/pacific-tide.json")),
    ("plateau-times.rss1.rdf", "application/rdf+xml", include_bytes!("../../../config/demo/plateau-times.rss1.rdf")),
    ("rive-sud.atom.xml", "application/atom+xml", include_bytes!("../../../config/demo/rive-sud.atom.xml")),
    ("signal-desk.json", "application/feed+json", include_bytes!("../../../config/demo/signal-desk.json")),
];
