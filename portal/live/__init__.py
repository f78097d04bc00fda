"""The live socket of the portal's pages."""
