-- History that the quick model settles leaves only its keys: item is 0 then, and `settled` the headline's hash (its first
-- 64 bits), by which a later sighting under another headline is told.
ALTER TABLE seen ADD COLUMN settled INTEGER;

-- A backfill that has not come to its end: from here it goes on.
CREATE TABLE backfill (
    run     BLOB    PRIMARY KEY,               -- hash of its sources and of the flags that choose what is read of them
    started INTEGER NOT NULL,
    rejects INTEGER NOT NULL DEFAULT 0         -- length of the file of rejects, bytes
) WITHOUT ROWID;

CREATE TABLE backfill_source (
    run      BLOB    NOT NULL REFERENCES backfill (run),
    source   INTEGER NOT NULL,                 -- its place on the command line
    position TEXT    NOT NULL,                 -- JSON: what has been taken in
    done     INTEGER NOT NULL,
    counts   TEXT    NOT NULL,                 -- JSON
    PRIMARY KEY (run, source)
) WITHOUT ROWID;

-- Which source an item was taken in from or reopened by, for the closing table and the report; rows go with their run.
CREATE TABLE backfill_item (
    item   INTEGER NOT NULL,
    run    BLOB    NOT NULL,
    source INTEGER NOT NULL,
    PRIMARY KEY (run, item)
) WITHOUT ROWID;
