"""The Kubernetes API, for the planner process and the node agent: `client` speaks HTTP, `reflector` mirrors, the rest
are the few writes that each may do. No JSON leaves this package.
"""

from typing import Final

IN_CLUSTER: Final = "in-cluster"  # in a kubeconfig's place; it stands here as who only names it needs no client
