"""A physical model of facilities: what their meters would show, at any time, from a seed.

The model advances in steps of two seconds. Everything random is a hash of (seed, purpose, index),
never a stream, so weather, grid and every load can be computed for any step by itself, in any
order and on any version of NumPy. What has a memory (registers, the battery's charge) is carried
from hour to hour, starting at the site's epoch: the state at a time follows from seed, epoch and
time alone. See `site.Site`.
"""
