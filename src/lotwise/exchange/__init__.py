"""A simulated exchange: accounts in double entry, its own checks, pessimistic fills. Pure."""
