"""The kubelet over its unix sockets: device plugins, and who holds which device."""

import os

# Read when gRPC is loaded, which is after this: a kubelet that restarts is no news for its log.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
