"""The third party's door: the REST API; see docs/api.md."""
