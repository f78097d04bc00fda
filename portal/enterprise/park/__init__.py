"""The park: overview, facility and device."""
