"""Pages that reach into devices: groups, their settings, bulk changes."""
