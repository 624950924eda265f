"""Tells the reconfigurer, by CloudEvents, which revisions wait for a slice that does not exist."""
