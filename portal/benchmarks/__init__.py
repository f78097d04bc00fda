"""Benchmarks of what a person touches; run by `manage.py bench NAME`."""
