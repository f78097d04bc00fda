"""Signing in, and what a person does with the own account."""
