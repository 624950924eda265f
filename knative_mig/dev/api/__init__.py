"""A Kubernetes API server in the process: real kubectl, kn and client libraries speak with it. Begin at `service`.

    http ──► service ──► routes ──► reads | writes ──► store ──► watches
                                     │        ├ patches, strategic_merge, apply (managed_fields)
                                     │        ├ admission (the project's own webhooks hang here)
                                     │        └ validation (schema, types of schemas/*.types and of CRDs)
                                     └ tables, discovery, openapi, pod_logs
    server ──► a sweep (sweeps) for each of garbage, quotas, namespace_begins

What it serves stands in `kinds`; what it deliberately does otherwise than the real one, in
tests/data/api_exceptions.txt.
"""
