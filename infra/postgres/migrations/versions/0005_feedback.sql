-- What was last thought of each answer. No reference to interactions: a rating may be archived before its answer.

create table feedback (
    workspace text not null,
    request_id uuid not null,
    rating text not null check (rating in ('up', 'down')),
    comment text not null default '',
    given_by text not null default '',    -- key id
    given_at timestamptz not null,
    event_id uuid not null,               -- decides between ratings of the same moment
    primary key (workspace, request_id)
);
create index feedback_by_time on feedback (workspace, given_at);
