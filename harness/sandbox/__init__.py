"""A trial inside a container: a stranger's method, without the network or the test masks."""
