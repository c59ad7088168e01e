"""The roof: settings, the joining of everything, the loop, and what people see."""
