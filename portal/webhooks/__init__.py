"""What services outside post to us."""
