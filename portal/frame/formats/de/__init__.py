"""How German writes dates and numbers."""
