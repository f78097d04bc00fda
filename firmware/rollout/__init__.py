"""The engine of roll-outs: values and the clock in, decisions out. Knows no framework and no I/O.

`strategy` says what a person wants, `waves` who comes when, `eligibility` who gets it at all,
`windows` when, `admission` how many at once and how fast, `reporting` what a device's word means,
`waiting` what time alone does, and `engine` puts them together into one step.
"""
