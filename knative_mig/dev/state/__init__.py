"""What `knative-mig dev --state DIR` keeps from one run to the next, so that it goes on where it was.

    folder       who has the directory, for which GPUs it was made, where each part keeps its own
    object_log   the API server's objects: a file that only grows, made small again now and then
    survivors    which of these a start takes over, and which it leaves out, each with its reason

The GPUs and the agents keep themselves: their files lie in the folder too.
"""
