"""Live readings to browsers: one hub in each web process, one consumer for each socket."""
