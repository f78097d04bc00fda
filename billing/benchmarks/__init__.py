"""Benchmarks of billing; see `manage.py bench`."""
