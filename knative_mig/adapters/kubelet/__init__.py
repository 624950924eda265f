"""The kubelet over its unix sockets: device plugins, and who holds which device."""
