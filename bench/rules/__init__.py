"""Rules that say where a slice goes, each as its project publishes it; `bench.policy_worth` sets them side by side."""
