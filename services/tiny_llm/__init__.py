"""A real language model, small enough to run anywhere: numpy, a KV cache, continuous batching, and OpenAI's API.

    weights.safetensors ── weights ── model ── attention        what the next byte is
    scheduler ── kv_blocks                                      who takes part in the next step
    engine ── sampler, text_stream                              one step: who, what, and what the client sees of it
    loop                                                        the one thread that takes steps
    openai_request, openai_answer, http_server, process         requests in, streams out

`python -m services.tiny_llm` serves it; `python -m services.tiny_llm.training` makes the weights.
"""
