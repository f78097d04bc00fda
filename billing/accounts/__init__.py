"""How accounts of customers move: pure, without I/O and clock."""
