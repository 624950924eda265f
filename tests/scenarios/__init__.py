"""What the project promises, as scenarios: data, and verbs of `stage.Stage`, whoever plays the stage.

Played on the real cluster by tests/cluster/test_scenarios.py, and on `dev` by tests/dev_suite. A scenario knows
functions, GPUs, slices and events, and nothing of Kubernetes or of where it is played.
"""
