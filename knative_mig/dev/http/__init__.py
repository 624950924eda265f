"""HTTP/1.1 over asyncio, bounded in all that a client decides: the part that the servers of `dev` have in common."""
