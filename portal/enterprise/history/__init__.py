"""History as files: imports of meter data, exports of readings."""
