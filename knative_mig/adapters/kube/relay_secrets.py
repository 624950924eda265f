"""The secret that the relays of a namespace know each other and their mover by, as a Secret there.

Made by the webhooks, which may not read it, and read by the planner's mover, which may not write it. It never changes:
whoever wants another deletes it, and it is made with the next pod; pods of before cannot be moved from then on.
"""

import base64
import binascii
import secrets
from typing import Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.kinds import SECRET
from knative_mig.core.errors import BadInput
from knative_mig.core.relays import SECRET_KEY, SECRET_NAME
from knative_mig.ports.kube import AlreadyExists, Key

_BYTES: Final = 32
# A pod's creation waits for it: rather without than late.
_WITHIN_S: Final = 1.0


class KubeRelaySecrets:
    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def ensure(self, namespace: str) -> bool:
        """Made without a look, so that nobody needs the right to read it."""
        text = base64.b64encode(secrets.token_urlsafe(_BYTES).encode()).decode()
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET_NAME, "labels": {"app.kubernetes.io/managed-by": "knative-mig"}},
            "type": "Opaque",
            "immutable": True,
            "data": {SECRET_KEY: text},
        }
        try:
            self._client.create(SECRET, namespace, body, answer_s=_WITHIN_S)
        except AlreadyExists:
            return False
        return True

    def read(self, namespace: str) -> str:
        """ClusterError; BadInput: somebody else made it, and there is none in it."""
        data = Fields(self._client.get(SECRET, Key(namespace, SECRET_NAME))).labels("data")
        try:
            found = base64.b64decode(data.get(SECRET_KEY, ""), validate=True).decode("ascii").strip()
        except (binascii.Error, UnicodeDecodeError):
            found = ""
        if not (found and found.isprintable()):
            raise BadInput(f"Secret {namespace}/{SECRET_NAME} has no text under {SECRET_KEY}")
        return found
