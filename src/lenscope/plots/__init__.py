"""One Display class a picture; the only importer of matplotlib."""
