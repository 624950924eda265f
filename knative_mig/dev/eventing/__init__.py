"""Stand-in for Knative Eventing's Broker and Trigger, for `dev`: of the class that is a cluster's default.

    sender ─► ingress ─► fan-out ─► queues ─► sending ─► subscriber       a reply goes back in at the fan-out
                            ▲                     └────► dead letters
    Broker, Trigger ─► controllers                                        what is there, and the statuses of both

Pure, with `now` passed in:

    destinations   which URL a `ref` or a `uri` stands for
    reconciling    all statuses: `brokers` a Broker's, `triggers` a Trigger's and what of it is needed to deliver
    filters        whether a Trigger wants an event
    policies       how often and how long after is tried again: `periods` reads ISO 8601
    events         an event as it is carried
    hops           what each hop changes in it: its lifetime, the marks of a dead letter
    answers        what a subscriber's answer means
    courses        where an event goes next: again, back into the Broker, to the dead letters, or nowhere
    queues         which is sent now, and what there is no room for
    webhook        what Knative fills in and refuses

Around them `controllers` (the API), `ingress` (a port), `sending` (HTTP, both by `wire`) and `post` (threads), composed
by `eventing`.

What is deliberately not stood in for is in docs/dev-vs-cluster.md.
"""
