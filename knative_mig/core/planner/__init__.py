"""Decides which slice goes where. Start at `batch.plan`; its words are in `decisions`."""
