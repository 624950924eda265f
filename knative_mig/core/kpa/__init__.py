"""The autoscaler of Knative Serving (its KPA), decision by decision, for where there is no Knative: `knative-mig dev`
and the simulator.

    settings    what applies to a revision: its annotations, then the cluster's ConfigMaps (`cluster`)
    stats       what was measured of it, second by second, in a stable and a panic window (`buckets`)
    scale       each 2 s (`decider`): how many pods, and how much burst there is room for
    reconcile   what is done about it: bounds, replicas, who gets the requests; `zero`: when the last pod may go
    pods        which of its pods count

Each gives the same answer as Knative's code at every tick: `make campaign-kpa` compares the two.
"""
