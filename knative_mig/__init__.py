"""knative-mig: LLM functions on NVIDIA MIG slices, as a Knative Serving extension."""
