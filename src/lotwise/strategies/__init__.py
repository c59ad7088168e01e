"""Floor 1: arrays of candles in, arrays of confidence out; nothing here sees the future."""
