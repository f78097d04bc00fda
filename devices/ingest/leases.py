"""Which writer reads which partitions: leases in Redis, shared out evenly.

A lease keeps two writers from doing the same work twice; correctness does not rest on it but on
the row locks of `device_cursor`. So a lease that runs out while its holder is stuck does no harm.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from redis import Redis

from devices.ingest.queue import (
    PARTITIONS,
    WRITER_GROUP,
    WRITERS_KEY,
    lease_key,
    stream_key,
)

RENEW_S: Final = 2.0
# Two renewals may be missed, as a long transaction does.
LEASE_MS: Final = 6_000

# One atomic step: sign in, count the living, keep what is due to this writer, give back what is
# too much, take what is free. The clock is the server's, so that writers need not agree on one.
# Where a partition is taken (or all, when asked to) the group of the writers is made, from the
# beginning of the stream: what was appended before there was a group is not lost.
# It runs also when Redis is out of memory: only writers can empty it again.
_RENEW: Final = """#!lua flags=allow-oom
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, lease, group, make_groups = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
local partitions = (#KEYS - 1) / 2
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + lease, me)
local share = math.ceil(partitions / redis.call('ZCARD', KEYS[1]))
local held, free = {}, {}

local function hold(i, make_group)
  held[#held + 1] = i - 2
  if make_group then
    redis.pcall('XGROUP', 'CREATE', KEYS[i + partitions], group, '0', 'MKSTREAM')
  end
end

for i = 2, partitions + 1 do
  local holder = redis.call('GET', KEYS[i])
  if holder == me then
    if #held < share then
      redis.call('PEXPIRE', KEYS[i], lease)
      hold(i, make_groups)
    else
      redis.call('DEL', KEYS[i])
    end
  elseif not holder then
    free[#free + 1] = i
  end
end
for _, i in ipairs(free) do
  if #held >= share then break end
  redis.call('SET', KEYS[i], me, 'PX', lease)
  hold(i, true)
end
return {now, held}
"""

_RELEASE: Final = """#!lua flags=allow-oom
redis.call('ZREM', KEYS[1], ARGV[1])
for i = 2, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
end
"""


class Held(NamedTuple):
    """The partitions that a writer holds, and the clock of Redis (Unix ms)."""

    now_ms: int
    partitions: frozenset[int]


class Leases:
    """The leases of one writer, `instance` being its name among all of them."""

    def __init__(self, redis: Redis, instance: str, lease_ms: int = LEASE_MS) -> None:
        self._instance = instance
        self._lease_ms = lease_ms
        self._keys = [WRITERS_KEY, *map(lease_key, range(PARTITIONS))]
        self._streams = [*map(stream_key, range(PARTITIONS))]
        self._renew = redis.register_script(_RENEW)
        self._release = redis.register_script(_RELEASE)

    def renew(self, *, make_groups: bool = False) -> Held:
        """Renew, rebalance and take over; call it every `RENEW_S`, between two batches only.

        Makes the consumer group of each partition that is taken, with `make_groups` of all that
        are held. Raises redis.RedisError when Redis cannot be asked.
        """
        arguments: list[str | int] = [
            self._instance,
            self._lease_ms,
            WRITER_GROUP,
            int(make_groups),
        ]
        now_ms, held = self._renew(keys=[*self._keys, *self._streams], args=arguments)
        return Held(int(now_ms), frozenset(map(int, held)))

    def release(self) -> None:
        """Give everything back at once, for whoever comes next."""
        self._release(keys=self._keys, args=[self._instance])
