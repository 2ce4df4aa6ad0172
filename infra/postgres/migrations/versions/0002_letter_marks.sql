-- Dead letters: what operators did with them, beside the letters, so that neither needs the other to come first.

create table letter_marks (
    mark_id uuid primary key,
    letter_id uuid not null,
    workspace text not null,
    state text not null check (state in ('redriven', 'discarded')),
    letter_partition integer not null,    -- which letter was seen: one written later under the same id stays open
    letter_offset bigint not null,
    by text not null,
    at timestamptz not null
);
create index letter_marks_by_letter on letter_marks (letter_id, letter_partition, letter_offset);

create index dead_letters_by_place on dead_letters (letter_partition, letter_offset);
create index dead_letters_by_time on dead_letters (workspace, last_at desc, letter_id);

-- Lag: what became searchable in a window of time.
create index receipts_by_time on receipts (sink, at);
