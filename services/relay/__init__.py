"""Stands before an engine and moves its running generations to another replica, unseen by their clients.

    resumable                     which requests may go on elsewhere, and why the others may not
    link_messages                 what the two relays of a move say to each other
    source_side, target_side      a generation that moves, seen from where it leaves and from where it goes
    replica                       when the engine may end and its slice be given back
    http_answer, stream_events    an engine's answer as tokens, and as the bytes of a client

All of these are pure: events in, actions out. The protocol and who may die when are in decision 0018.
"""
