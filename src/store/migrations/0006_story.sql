-- Which alert is of which story. Rows go with their story, once it has been silent for long enough.
CREATE TABLE story (
    id   BLOB    PRIMARY KEY,
    last INTEGER NOT NULL                      -- when its last sighting was judged
) WITHOUT ROWID;
CREATE INDEX story_age ON story (last);

-- What the stories are rebuilt from at start, in this order.
CREATE TABLE sighting (
    id    INTEGER PRIMARY KEY,
    item  BLOB    NOT NULL UNIQUE,             -- its identity
    story BLOB    NOT NULL,
    at    INTEGER NOT NULL,                    -- published
    owner TEXT    NOT NULL,
    stage TEXT    NOT NULL,
    print INTEGER,                             -- simhash, of texts that are long enough for one
    terms BLOB    NOT NULL,                    -- hashed terms and their weights, 4 bytes each, little-endian
    about BLOB                                 -- embedding: 4 bytes of whose space, then one signed byte a dimension
);
CREATE INDEX sighting_story ON sighting (story);

-- With which alert a sink that asks for stories was told of one: decided once, so that a restart decides the same.
CREATE TABLE told (
    sink  TEXT    NOT NULL,
    story BLOB    NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (sink, story)
) WITHOUT ROWID;

-- Since which item the present model judges: the verdicts before are another's and not taken over for copies.
CREATE TABLE judged_by (
    model TEXT    NOT NULL,
    after INTEGER NOT NULL
);
