"""Floor 2: the one decision path of paper, live and backtest. Pure: no I/O, no clock, no dice."""
