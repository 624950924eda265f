"""Stands before an engine and moves its running generations to another replica, unseen by their clients.

Decided without I/O: events in, actions out.

    resumable                     which requests may go on elsewhere, and why the others may not
    link_messages                 what the two relays of a move say to each other
    source_side, target_side      a generation that moves, seen from where it leaves and from where it goes
    source_words                  what happens to it where it leaves, and what is to be done
    replica                       when the engine may end and its slice be given back
    dialect                       how each kind of engine is asked to go on
    http_answer, stream_events    an engine's answer as tokens, and as the bytes of a client
    chunk_forms                   a completion's chunk as a chat's

Done:

    process, desk                 what there is, and who needs the engine
    child, release                the engine, and its slice given back
    user_port                     a client's request, which becomes one of two:
    conversation, client_end      a generation that may move, with whoever says it
    passing                       anything else
    move_port, arrival            movers, and generations that come here
    dialling                      the way to another relay
    engine_call, wire, letterbox  connections that one thread has several of, and letters of other threads

The protocol and who may die when are in decision 0019.
"""
