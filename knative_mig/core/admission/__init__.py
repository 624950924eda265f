"""Decides what is set on functions and pods as they are written, and which are refused. Start at `choice.decide`."""
