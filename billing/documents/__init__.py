"""Documents of bills: values in, bytes out. No database, no clock, no network."""
