"""The room that says of every single row what became of it, and proves that the rows add up."""
