"""`make campaign-kpa`: histories of a function, drawn by a seed, for our autoscaler and for Knative's, tick by tick."""
