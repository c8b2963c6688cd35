-- Where each sink has got to in the outbox. The main alert file is the sink `output`.
CREATE TABLE sink (
    name     TEXT    PRIMARY KEY,
    active   INTEGER NOT NULL DEFAULT 1,  -- 0: no longer configured; holds nothing up
    cursor   INTEGER NOT NULL,            -- seq of the last alert that is settled: taken, not meant for it, or parked
    tries    INTEGER NOT NULL DEFAULT 0,  -- failures in a row with the alert after the cursor
    since    INTEGER,                     -- when the first of them was
    next_try INTEGER,                     -- not before; NULL: at once
    closed   TEXT,                        -- why it takes nothing any more (410), until its configuration changes
    error    TEXT,                        -- the last failure; NULL when the last try went well
    taken    INTEGER NOT NULL DEFAULT 0,  -- alerts it has taken, ever
    address  TEXT,                        -- hash of what it is connected to: a new one opens a closed sink
    made     INTEGER NOT NULL DEFAULT (unixepoch() * 1000) -- when this state has met it
) WITHOUT ROWID;

-- Alerts that a sink refused for good. They stay in the outbox as long as everything else there.
CREATE TABLE parked (
    sink   TEXT    NOT NULL,
    seq    INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    reason TEXT    NOT NULL,
    PRIMARY KEY (sink, seq)
) WITHOUT ROWID;

-- The main file goes on where it was: before the first alert that waits, else behind the last.
INSERT INTO sink (name, cursor) VALUES ('output', coalesce(
    (SELECT min(seq) - 1 FROM outbox WHERE delivered IS NULL),
    (SELECT max(seq) FROM outbox),
    0
));
-- From here on `outbox.delivered` is when the last of the active sinks had settled the alert.
