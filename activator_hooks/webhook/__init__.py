"""The admission webhooks: what is set on functions and on pods that ask for slices, and which functions are refused."""
