-- The gate keeps the state itself and not only its number, and what stands in what.

alter table published
    add column number bigint not null default 0,        -- order of the newest state: number, deleted, place
    add column deleted boolean not null default false,
    add column partition integer,                       -- where its event was first accepted in raw.events;
    add column "offset" bigint,                         -- null, as the digest, for what was published before
    add column digest bytea,                            -- of everything that sinks hold of it
    add column version bigint not null default 0,       -- last one published; 0: none
    add column gone boolean not null default true,      -- that one was a deletion
    add column hidden_by uuid,                          -- the removed thing that it stands in (its document id)
    add column floor bigint not null default 0,         -- of what stands in it: numbers up to this stay out
    add column swept uuid,                              -- contents up to this id were deleted with it
    add column parents uuid[] not null default '{}',    -- document ids of what it stands in, outermost first
    -- What a deletion has to say; empty for what stands in nothing.
    add column workspace text not null default '',
    add column source text not null default '',
    add column connector text not null default '',
    add column external_id text not null default '',
    add column kind text not null default '';
update published
    set number = standing / 2, deleted = standing % 2 = 1, version = standing / 2, gone = standing % 2 = 1;
alter table published drop column standing, drop column before;

-- What stands in a thing, by document ids: read a page at a time when it is removed.
create table contents (
    container uuid not null,
    document_id uuid not null,
    primary key (container, document_id)
);
