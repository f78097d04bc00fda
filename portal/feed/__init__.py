"""Live readings on their way to browsers: what the sockets of all doors share."""
