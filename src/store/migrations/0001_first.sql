-- Times are Unix milliseconds, UTC. Identities are 16-byte BLOBs.

CREATE TABLE feed (
    id            INTEGER PRIMARY KEY,
    url           TEXT    NOT NULL UNIQUE,
    title         TEXT,                        -- the user's name for it
    own_title     TEXT,                        -- the feed's name for itself
    tags          TEXT    NOT NULL DEFAULT '[]',
    host          TEXT    NOT NULL,            -- of the address that is polled, with its port unless that is the usual one
    site          TEXT    NOT NULL,            -- its registrable domain
    moved_to      TEXT,                        -- the address that is polled, when permanent redirects have led to it
    gone          INTEGER,                     -- when it answered 410; not polled again until the user adds it anew
    origin        TEXT    NOT NULL,            -- added | config | flag | backfill
    active        INTEGER NOT NULL DEFAULT 1,  -- 0: kept for its history, not polled
    watched       INTEGER NOT NULL DEFAULT 1,  -- what the present run polls: all that is active, or what its flags name
    floor_s       INTEGER,                     -- the user's least interval, seconds
    next_poll     INTEGER NOT NULL DEFAULT 0,  -- the schedule: a durable queue
    last_poll     INTEGER,
    last_check    INTEGER,                     -- when a person had it fetched last
    last_success  INTEGER,
    last_status   INTEGER,
    validators    TEXT,                        -- JSON: committed with the items they vouch for
    identity      TEXT    NOT NULL DEFAULT 'guid', -- guid | link: what tells this feed's items apart
    history       TEXT,                        -- JSON: what the schedule remembers
    error_class   TEXT,
    error         TEXT,
    errors_in_row INTEGER NOT NULL DEFAULT 0,
    items_seen    INTEGER NOT NULL DEFAULT 0
);
-- The host stands in the index so that feeds of busy hosts are passed over without reading their rows.
CREATE INDEX feed_due ON feed (next_poll, host) WHERE watched;
CREATE INDEX feed_host ON feed (host);
CREATE INDEX feed_site ON feed (site);

-- Every key an item was ever known by; outlives the item.
CREATE TABLE seen (
    key       BLOB PRIMARY KEY,
    item      INTEGER NOT NULL,
    feed      INTEGER NOT NULL,
    last_seen INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE item (
    id          INTEGER PRIMARY KEY,
    identity    BLOB    NOT NULL UNIQUE,
    feed        INTEGER NOT NULL REFERENCES feed (id),
    origin      TEXT    NOT NULL,              -- live | backfill
    first_seen  INTEGER NOT NULL,
    published   INTEGER NOT NULL,
    published_source TEXT NOT NULL,
    content     BLOB    NOT NULL,              -- hash of title and summary: tells a revision
    entry       TEXT    NOT NULL,              -- JSON of what the feed said
    outcome     TEXT,                          -- NULL: waiting for its verdict
    score       REAL
);
CREATE INDEX item_pending ON item (id) WHERE outcome IS NULL;

CREATE TABLE outbox (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id  TEXT    NOT NULL UNIQUE,
    item      INTEGER NOT NULL REFERENCES item (id),
    line      TEXT    NOT NULL,                -- the alert as it will stand in the file, without the newline
    created   INTEGER NOT NULL,
    delivered INTEGER
);
CREATE INDEX outbox_waiting ON outbox (seq) WHERE delivered IS NULL;
