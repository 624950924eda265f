"""Kills a node agent at each of its calls and looks whether the next one puts everything right: `make campaign-crash`.

`points` says where to kill, `scenario` what the agent has to do meanwhile, `world` holds its kubelet, its API server
and its GPUs and does the killing, `agents` runs the real agent as a process, `watched` has it ask before and after each
call, `campaign` plays it all.
"""
