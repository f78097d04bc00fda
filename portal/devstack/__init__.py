"""The development stack: embedded servers, the process supervisor behind `make up`, the checks
behind `make test`.

Nothing here needs Django to be configured. `servers.open_session` and `servers.make_private` are
the interface for tests and benchmarks.
"""
