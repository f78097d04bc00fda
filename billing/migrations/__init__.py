"""Migrations of the app `billing`."""
