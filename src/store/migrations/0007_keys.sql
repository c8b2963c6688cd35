-- Keys of history that are not in `seen` yet, packed, a row for each group that was committed. Keys are hashes: written at
-- once, each group would touch every leaf of `seen`; they are merged into it a slice at a time.
CREATE TABLE fresh_keys (
    seq  INTEGER PRIMARY KEY,
    keys BLOB NOT NULL
);
