"""The pending source: watches revisions, and sends an event as soon as one wants a slice."""
