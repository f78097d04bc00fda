"""The consumer's door: a home on a phone, an OAuth client of the same provider."""
