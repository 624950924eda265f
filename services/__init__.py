"""What runs on a slice: the LLM servers of the functions."""
