"""Floor 3: where orders go and prices come from. asyncio begins here."""
