"""Who is who for the API of `dev`: the kubeconfigs of its processes, as their service accounts, and the user's own.

Called by `process`. A token is the account's name: it keeps nobody out, loopback does, and tells who wrote what.
"""

import json
from pathlib import Path

from knative_mig.dev.api.routes import USER
from knative_mig.dev.whole.folders import write


def account(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


def kubeconfig(server: str, user: str) -> str:
    """JSON, which is YAML."""
    context = {"name": "knative-mig-dev", "context": {"cluster": "knative-mig-dev", "user": user}}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "knative-mig-dev", "cluster": {"server": server}}],
            "users": [{"name": user, "user": {"token": user} if user != USER else {}}],
            "contexts": [context],
            "current-context": "knative-mig-dev",
        },
        indent=1,
    )


def written(path: Path, server: str, user: str) -> Path:
    """OSError, which names it."""
    write(path, kubeconfig(server, user))
    return path
