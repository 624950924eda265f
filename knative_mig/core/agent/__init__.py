"""Decides for one node what to do to its GPUs and what to tell its kubelet. Start at `layout_change.next_action`."""
