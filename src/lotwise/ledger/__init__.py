"""Floor 1: what we own, as the sum of what happened."""
