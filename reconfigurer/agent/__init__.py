"""The agent of one node: the only owner of its GPUs. Start at `process`, which composes it; `gpu_loop` cuts GPUs."""
