"""Tariffs, agreements and bills."""
