"""What the relays of functions and those who call them know of each other without asking: names and one port.

The webhooks give them to a function's pod, a relay reads them there, the planner's mover calls by them.
"""

from typing import Final

MOVE_PORT: Final = 8019  # where nothing of Knative's listens, and which no container declares
SECRET_NAME: Final = "knative-mig-relay"  # noqa: S105 - in each namespace with movable functions
SECRET_KEY: Final = "secret"  # noqa: S105
SECRET_FOLDER: Final = "/var/run/knative-mig/relay"  # noqa: S105 - of a container
SECRET_FILE: Final = f"{SECRET_FOLDER}/{SECRET_KEY}"
SECRET_FILE_VARIABLE: Final = "KNATIVE_MIG_RELAY_SECRET_FILE"  # noqa: S105
FUNCTION_URL_VARIABLE: Final = "KNATIVE_MIG_RELAY_FUNCTION_URL"
FUNCTION_GATEWAY_VARIABLE: Final = "KNATIVE_MIG_RELAY_FUNCTION_GATEWAY"  # where names of a cluster are not known
