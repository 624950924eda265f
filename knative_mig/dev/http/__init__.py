"""HTTP/1.1 over asyncio, bounded in all that a client decides: what the API server of `dev` listens with."""
