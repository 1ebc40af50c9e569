-- Every certificate changes its device twice. Where the new row finds room on the page of the old one, and nothing that an
-- index holds has changed, no index is written (heap-only tuples).
ALTER TABLE devices SET (fillfactor = 80);
