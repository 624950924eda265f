"""`knative-mig dev`: every stand-in and every process of the project, put together. Begin at `process`.

process ─► settings, fleet, folders      what is asked for, and where it lies
        ├► supervision (child), parts    the project's own processes, kept running; `identities`: as whom they speak
        ├► kept_store                    the objects of a run before, with `--state`
        ├► cluster                       the stand-ins, in this process: API, Serving, gateway, scheduler, kubelets
        │     objects, admission           what is there from the start, and who is asked before a write
        │     autoscaling, neighbours      what the stand-ins ask of each other
        └► readiness, banner, chaos      when it is ready, what is said then, and what is killed where that is asked for
"""
