"""How a function leaves its slice for another: make before break, on stock Knative, step by step and resumable."""
