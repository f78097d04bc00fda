"""Everything a person or a client touches, and the project itself."""
