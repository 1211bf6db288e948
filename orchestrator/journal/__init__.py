"""The durable truth: what was asked, what was sent and what became of it, in one database file."""
