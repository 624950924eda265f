"""Stand-ins of Knative Serving's controllers and of those of Kubernetes that these need, for `dev`.

    Service ─► Configuration ─► Revision ─► Deployment ─► ReplicaSet ─► Pod       services, configurations, revisions,
       │                           │            ▲                                 deployments, replica_sets, pods
       └─────► Route               └─► PodAutoscaler ─► ServerlessService         routes (traffic), autoscalers

Each module decides about one kind: what is seen (`objects.Seen`) to what is wanted written (`writes`), with no I/O.
`loop` runs them over mirrors of the API; `admission` is what Knative's webhooks do before an object is kept. How many
pods a revision gets, who serves its URL and which images can be run is asked of others: `controllers.Neighbours`.

What is deliberately not stood in for is in docs/dev-vs-cluster.md.
"""
