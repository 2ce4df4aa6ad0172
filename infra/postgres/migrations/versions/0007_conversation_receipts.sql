-- Receipts that speak of conversations stand in a table of their own: in `receipts` they read as documents that no index
-- and no graph holds. Those written until now are known by their sink, and the cache's by the source that stood for one.

create table conversation_receipts (
    event_id uuid not null,
    conversation_id uuid not null,
    sink text not null,
    workspace text not null,
    version bigint not null,
    operation text not null,
    outcome text not null,
    parts integer not null default 0,
    at timestamptz not null,
    primary key (event_id, conversation_id, sink)
);
create index conversation_receipts_by_conversation on conversation_receipts (workspace, conversation_id);

with moved as (
    delete from receipts
    where sink = 'archivist' or (sink = 'answer_cache' and source = 'conversations')
    returning event_id, document_id, sink, workspace, version, operation, outcome, parts, at
)
insert into conversation_receipts (event_id, conversation_id, sink, workspace, version, operation, outcome, parts, at)
select * from moved;
