"""Kills node agents and planners at each of their calls and looks whether the next one puts everything right: `make
campaign-crash`.

`points` says where to kill, `killable` does it, `hosts` runs what is killed as a process, `watched` has it ask before
and after each call, `play` says what a campaign plays, `campaign` plays it all. There are two plays:

    of the agent    `scenario`: slices made, taken, destroyed, merged, refused; `world` holds its kubelet, its API
                    server and its GPUs, `agents` runs it
    of the planner  `moves`: a floor raised and restored, functions moved and evicted; `moving` holds its API server and
                    all others behind it, `planners` runs it
"""
