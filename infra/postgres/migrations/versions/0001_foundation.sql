-- Configuration (written by operators, through the CLI or the gateway's /v1/sources)

create table workspaces (
    name text primary key,
    created_at timestamptz not null default now()
);

create table api_keys (
    key_id text primary key,              -- public prefix, shown in lists
    workspace text not null references workspaces(name),
    name text not null,
    hash bytea not null,                  -- sha256 of a 256-bit random secret: no dictionary to defend against
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);

create table sources (
    source_id text primary key,           -- src_…, unique over all workspaces: it stands in hook addresses
    workspace text not null references workspaces(name),
    connector text not null,
    name text not null,
    secrets bytea[] not null default '{}',-- Fernet; every one is valid, so that a rotation has no gap
    config jsonb not null default '{}',
    enabled boolean not null default true,
    created_at timestamptz not null default now(),
    unique (workspace, name)
);

create table source_pulls (
    source_id text primary key references sources(source_id) on delete cascade,
    next_at timestamptz not null default now(),
    state jsonb not null default '{}',    -- etag, last_modified
    last_at timestamptz,
    last_error text,
    failures integer not null default 0
);

create table indexes (
    index_id text primary key,
    collection text not null unique,
    model text not null,
    dimension integer not null check (dimension > 0),
    state text not null check (state in ('building', 'shadow', 'live', 'retired')),
    created_at timestamptz not null default now()
);
create unique index indexes_one_live on indexes ((true)) where state = 'live';

-- Idempotent consumption: the coordinates under which a consumer first saw an event id

create table inbox (
    consumer text not null,
    event_id uuid not null,
    partition integer not null,
    "offset" bigint not null,
    seen_at timestamptz not null default now(),
    primary key (consumer, event_id)
);

-- Ledger: derived from raw.events, documents, receipts and dead.letters; rebuilt by replaying them

create table events (
    event_id uuid primary key,
    workspace text not null,
    source text not null,
    connector text not null,
    delivery text not null,
    subject text not null default '',
    operation text not null default 'put',
    accepted_at timestamptz,
    raw_partition integer,
    raw_offset bigint,
    outcome text check (outcome in ('documents', 'not_a_document')),
    documents uuid[] not null default '{}',
    normalised_at timestamptz,
    detail text not null default ''
);
create index events_by_source on events (workspace, source);

create table receipts (
    event_id uuid not null,
    document_id uuid not null,
    sink text not null,
    workspace text not null,
    source text not null,
    version bigint not null,
    operation text not null,
    outcome text not null,
    parts integer not null default 0,
    at timestamptz not null,
    primary key (event_id, document_id, sink)
);
create index receipts_by_document on receipts (workspace, document_id);
create index receipts_by_source on receipts (workspace, source, sink);

create table documents (
    document_id uuid primary key,
    workspace text not null,
    source text not null,
    connector text not null,
    external_id text not null,
    event_id uuid not null,
    version bigint not null,
    deleted boolean not null default false,
    kind text not null default '',
    title text not null default '',
    url text not null default '',
    language text not null default '',
    text text not null default '',
    chunks integer not null default 0,
    authors jsonb not null default '[]',
    metadata jsonb not null default '{}',
    created_at timestamptz,
    updated_at timestamptz,
    received_at timestamptz not null
);
create index documents_by_source on documents (workspace, source, document_id);

create table dead_letters (
    letter_id uuid primary key,
    workspace text not null,
    event_id uuid,
    source text not null default '',
    reason text not null,
    detail text not null,
    worker text not null,
    attempts integer not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    letter_partition integer not null,    -- where the whole letter stands in dead.letters
    letter_offset bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    state text not null default 'open' check (state in ('open', 'redriven', 'discarded'))
);
create index dead_letters_by_workspace on dead_letters (workspace, source, state);
create index dead_letters_by_event on dead_letters (event_id);

-- Archive of conversations

create table conversations (
    conversation_id uuid not null,
    workspace text not null,
    title text not null default '',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (workspace, conversation_id)
);

create table interactions (
    request_id uuid primary key,
    workspace text not null,
    conversation_id uuid not null,
    question text not null,
    answer text not null,
    citations jsonb not null default '[]',
    passages uuid[] not null default '{}',
    abstained boolean not null default false,
    index_id text not null default '',
    model text not null default '',
    served_by text not null default '',
    prompt_tokens integer not null default 0,
    completion_tokens integer not null default 0,
    error jsonb,
    asked_at timestamptz not null,
    answered_at timestamptz not null,
    foreign key (workspace, conversation_id) references conversations (workspace, conversation_id)
);
create index interactions_by_conversation on interactions (workspace, conversation_id, asked_at);
