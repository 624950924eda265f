"""`make campaign-fuzz`: requests, valid ones and others a change away, to the planner's and the webhook's doors."""
