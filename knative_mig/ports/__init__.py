"""What the core needs of the world, as small Protocols; each has a fake and an adapter with one contract."""
