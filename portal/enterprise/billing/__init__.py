"""Billing: tariffs, customers and agreements, runs, bills."""
