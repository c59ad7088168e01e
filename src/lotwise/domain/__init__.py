"""Floor 0: the pure core. Standard library only, no I/O, no clock, no dice."""
