"""Kraken's spot exchange on Kraken's own wire, over the simulated exchange. The core here does no I/O."""
