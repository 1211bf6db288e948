"""The room of the input files: what they are, where their records end, which keys they hold."""
