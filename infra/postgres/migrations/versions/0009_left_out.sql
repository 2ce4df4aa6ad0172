-- Code points at the end of a document's text that are in no chunk: it has more chunks than one document may have.
alter table documents add column left_out int not null default 0;
