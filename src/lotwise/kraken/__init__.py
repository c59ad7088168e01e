"""Kraken's facts and words, pure: what its names, errors, fees and minimums are, each with its date.

Both sides of the wire use them: the clients that speak to Kraken and the exchange that plays it.
"""
