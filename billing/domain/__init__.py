"""What billing reads and does, behind the wall."""
