"""What banks and payment services say, read into values."""
