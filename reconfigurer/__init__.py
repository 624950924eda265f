"""Makes the slices: plans over the whole cluster, and owns NVML on each GPU node."""
