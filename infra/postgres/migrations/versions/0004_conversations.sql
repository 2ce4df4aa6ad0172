-- Conversations: what users did with them. A change may arrive before any of the conversation's interactions (a
-- rebuild reads the topics side by side): such a row has no times yet and is not shown.

alter table conversations
    alter column created_at drop not null,
    alter column updated_at drop not null,
    add column name text,                              -- given by a user; the title is the first question's
    add column name_version bigint not null default 0, -- versions: offset + 1 in conversation.changes
    add column asked_at timestamptz,                   -- of the newest question
    add column archived_at timestamptz,
    add column archive_version bigint not null default 0,
    add column changed_at timestamptz,                 -- of the user's newest change
    add column deleted_at timestamptz;                 -- the tombstone; nothing else is kept of a deleted one

update conversations c set asked_at = (
    select max(i.asked_at) from interactions i
    where i.workspace = c.workspace and i.conversation_id = c.conversation_id);

-- What is said after a conversation was put away brings it back.
alter table conversations add column archived boolean not null
    generated always as (archived_at is not null and coalesce(archived_at >= asked_at, true)) stored;

create index conversations_by_time on conversations (workspace, archived, updated_at desc, conversation_id desc)
    where deleted_at is null and created_at is not null;
create index conversations_by_idleness on conversations (greatest(updated_at, changed_at))
    where deleted_at is null and created_at is not null and not archived;

-- Search: stemmed as English and as it stands, for all other languages. A tsvector holds 1 MB, hence the bounds.

alter table conversations add column words tsvector not null generated always as (
    to_tsvector('simple', coalesce(name, title)) || to_tsvector('english', coalesce(name, title))) stored;
create index conversations_by_word on conversations using gin (words);

alter table interactions add column words tsvector not null generated always as (
    to_tsvector('simple', left(question, 32000)) || to_tsvector('english', left(question, 32000))
    || to_tsvector('simple', left(answer, 32000)) || to_tsvector('english', left(answer, 32000))) stored;
create index interactions_by_word on interactions using gin (words);

-- What an answer was made of. Null or empty for answers from before.

alter table interactions
    add column degraded boolean not null default false,
    add column adapter text not null default '',
    add column request_place text not null default '', -- topic:partition:offset
    add column prompt_place text not null default '',
    add column retrieved jsonb not null default '[]',  -- chunks in the prompt: id, document, version, offsets, score
    add column parameters jsonb not null default '{}',
    add column parts jsonb not null default '{}';      -- how the prompt's budget of tokens was spent
