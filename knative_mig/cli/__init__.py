"""The `knative-mig` command: parse, call the core, print."""
