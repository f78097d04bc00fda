"""Commands to devices as values: what can be asked for, and what follows from what happens."""
