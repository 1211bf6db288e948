"""Benchmarks: each measures one promise and prints it next to the figure that is demanded of it."""
