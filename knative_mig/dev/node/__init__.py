"""Scheduler and kubelet stand-ins: enough of both that the project's own agents and replicas run under them, without
root.

    scheduling: scheduler, fit        which pod goes where, and why another goes nowhere
    evictor, stay                     which pods the taints of their node send away
    cordons                           the taint of a node that is cordoned
    turns                             when evictor and cordons look
    kubelet                           one node: its Node (node_object), its device plugins, a worker a pod
    pod_worker                        one pod, from its admission to its end; decided without I/O by:
      life, back_off, probe_clock       what is started, waits, is well
      ending, container_end             how it is told to end
      pod_status                        what is said of it
      surrounds, images                 what a program finds around it in place of a container
    logs, log_reader                  what it printed
    container, shim                   a process of this machine, of which nothing is left when it or we end

A pod dies with the process that runs this, whatever kills that; what it was is in the API, and a start runs it anew.
"""
