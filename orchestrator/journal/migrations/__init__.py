"""The way of the tables from each published version to the newest one."""
