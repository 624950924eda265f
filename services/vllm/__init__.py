"""The launcher of vLLM: what a slice is becomes flags, and what went wrong becomes one line and an exit code.

    annotations ── model_facts ── plan      what is wanted, what the model takes: the flags, each with why
    visible_devices                         the environment that vLLM finds its slice in
    failures                                the engine's last words: which ending that is
    process                                 the engine as a child: health, signals, its end

`python -m services.vllm MODEL` is what a function's container runs. Nothing here imports vLLM.
"""
