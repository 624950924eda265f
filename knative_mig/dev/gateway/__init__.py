"""Function URLs on one loopback port: what Knative's ingress, activator and queue-proxies do with a request.

    routing      which revision: the Host header against the Routes' traffic and tags
    hall         where it waits, who counts it, and which pod takes it: `throttle`, `load`, `pod_traffic`
    timeouts     how long it may take, until its answer begins and as a whole
    http_head    heads of requests and answers, `framing` their bodies, `forwarding` what a hop changes in them
    replies      what is answered here, as Knative words it
    facts        what is known of Routes, Revisions and pods

These are pure: they do no I/O, and `now` is passed in. Around them:

    server       the port: a thread a connection, which `connection` serves request by request; a `bell` ends its wait
    exchange     one request (`asked`) with one pod; `pump` moves its bytes, `pod_connections` are kept for the next
    gateway      the hall behind a lock, and what it tells the autoscaler (`ports`)
    mirrors      Routes, Revisions, Pods and ServerlessServices as the hall knows them: `parse`
"""
