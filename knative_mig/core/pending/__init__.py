"""Which revisions want slices that they do not have, and which events tell of it, when."""
