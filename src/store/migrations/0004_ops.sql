-- What pruning by age asks for.
CREATE INDEX item_age ON item (first_seen);
CREATE INDEX outbox_item ON outbox (item);                                  -- an item goes after its alerts
CREATE INDEX outbox_age ON outbox (delivered) WHERE delivered IS NOT NULL;
-- The feed that showed a key last, where that is not the one that brought it: the key lives as long as that one lists it.
ALTER TABLE seen ADD COLUMN shown INTEGER;
