-- Feeds whose hub pushes, or has been asked to. A row goes when its feed announces no hub any more.
CREATE TABLE subscription (
    feed     INTEGER PRIMARY KEY REFERENCES feed (id),
    hub      TEXT    NOT NULL,
    topic    TEXT    NOT NULL,
    token    TEXT    NOT NULL UNIQUE,           -- the last part of the callback's address
    secret   TEXT    NOT NULL,                  -- the key of the hub's signatures
    until    INTEGER,                           -- end of the lease; NULL before the hub has verified
    next_try INTEGER NOT NULL DEFAULT 0,        -- when to ask the hub, first, again or for a renewal
    tries    INTEGER NOT NULL DEFAULT 0         -- requests since the last verification
);
CREATE INDEX subscription_due ON subscription (next_try);
