-- The rating of an answer that was deleted with its conversation becomes a tombstone: no rating, no comment, given at
-- infinity, so that none that arrives later counts. Whoever reads ratings passes over those that are null.

alter table feedback alter column rating drop not null;
