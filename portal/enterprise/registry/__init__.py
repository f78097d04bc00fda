"""Lists and forms of facilities, devices and loads; imports; claim codes."""
