"""What became of a revision's wish for a slice: from what the planner's leader has observed to what it tells."""
