-- The normalizer's gate in front of topic documents: the newest state that it has let through, per document.

create table published (
    document_id uuid primary key,
    standing bigint not null,             -- twice the version, plus one for a deletion: the greater wins
    before bigint not null                -- what stood here when the last batch came that names the document
) with (fillfactor = 80);                 -- rows are overwritten in their page
insert into published (document_id, standing, before)
select document_id, 2 * version + deleted::int, 0 from documents;

-- Documents of an event that a newer state had overtaken before they were published.
alter table events add column superseded uuid[] not null default '{}';
