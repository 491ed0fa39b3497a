"""The revisions; each spells its tables out and is never changed once released."""
