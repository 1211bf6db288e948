"""A local Marketo: the same paths, limits, queue, files and faults, without an account."""
