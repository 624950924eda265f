"""Decides from the cluster's objects what to ask of which node. Start at `world.WorldKeeper`."""
