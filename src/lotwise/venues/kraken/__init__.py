"""Kraken as a venue: REST and stream clients, and the order protocol over them (docs/live.md)."""
