"""`knative-mig dev`: every stand-in and every process of the project, put together. Begin at `process`.

process ─► settings, fleet, folders      what is asked for, and where it lies
        ├► supervision (child), parts    the project's own processes, kept running; `identities`: as whom they speak
        ├► kept_store                    the objects of a run before, with `--state`
        ├► cluster                       the stand-ins, in this process: API, Serving, gateway, scheduler, kubelets
        │     objects, admission           what is there from the start, and who is asked before a write
        │     autoscaling, neighbours      what the stand-ins ask of each other
        └► readiness, banner             when it is ready, and what is said then
              told, room, chaos          what its user says, that its disk is full, what is killed if that is asked for
"""
