"""The whole system in one process, for a machine without a cluster.

All of its servers share one event loop on one thread: a connection that only waits (a watch, a request that is held for
a function that starts) is then an object and no thread. What computes or may block runs on a few worker threads, so
that a long list or a webhook holds nobody else up.
"""
