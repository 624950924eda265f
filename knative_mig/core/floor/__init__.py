"""Which autoscaling values a Revision has: the user's own, and what components ask for beyond them for a while."""
