"""Pages of roll-outs: list, wizard with dry run, live page, and the updates of a device."""
