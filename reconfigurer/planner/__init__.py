"""The planner process: watches the cluster, decides which slices are to be made, and writes it into `GpuNode` specs."""
