"""A real Kubernetes and Knative on one Linux machine, for the tests.

`python -m tests.cluster.testbed up|down|status` is what the Makefile calls; the pytest layer imports `cluster`
(handles), `faults` (break things) and `images` (bring an image in). Everything runs in network, mount and cgroup
namespaces of its own, under names that start with `kmig`, so that one sweep finds whatever an earlier run left.
"""
