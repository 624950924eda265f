"""The whole system on one machine, without a cluster: what is stood in for, one package a part."""
