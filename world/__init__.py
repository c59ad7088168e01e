"""A simulated world: the real engine and the real Kraken client against the real sandbox core, in virtual
time, with faults and crashes by seed. `python -m world SEEDS` runs scenarios and checks the invariants."""
