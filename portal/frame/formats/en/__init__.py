"""International English: day before month in words, 24 hours."""
