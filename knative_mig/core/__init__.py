"""What may be decided without the world: no I/O, no clock, no threads. See README.md in this folder."""
