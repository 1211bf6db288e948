"""One file for each change of the tables; a published one is never touched again."""
