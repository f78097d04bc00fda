"""How devices are set up, as values: the settings there are, and what a difference leads to."""
