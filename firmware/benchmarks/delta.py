"""Bytes that patches save between two real builds of a small program, and what making them takes.

Two versions of a meter's program are compiled with the C compiler of this machine, as firmware is:
for size, without symbols, once with all libraries inside (as on a microcontroller) and once the
program's own code alone. Without a compiler, or with --base and --target, two given images count.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Final

from firmware.artifacts import deltas

_PROGRAM: Final = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

#define VERSION "@VERSION@"
#define RING 256

struct sample { int64_t at_ms; int32_t watts, volts, amps; };
static struct sample ring[RING];
static unsigned head, count;

static uint32_t crc32c(const uint8_t *data, size_t length) {
    uint32_t crc = 0xFFFFFFFFu;
    while (length--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & -(crc & 1));
    }
    return ~crc;
}

static size_t varint(uint8_t *out, uint64_t value) {
    size_t used = 0;
    while (value >= 0x80) { out[used++] = (uint8_t)(value | 0x80); value >>= 7; }
    out[used++] = (uint8_t)value;
    return used;
}

static void push(struct sample one) {
    ring[head] = one;
    head = (head + 1) % RING;
    if (count < RING) count++;
#if @FIXED@
    else fprintf(stderr, "overrun at %lld\n", (long long)one.at_ms);
#endif
}

static double rms(int (*of)(const struct sample *)) {
    double sum = 0;
    for (unsigned i = 0; i < count; i++) { double v = of(&ring[i]); sum += v * v; }
    return count ? sqrt(sum / count) : 0;
}

static int watts_of(const struct sample *one) { return one->watts; }
static int volts_of(const struct sample *one) { return one->volts; }
#if @FIXED@
static int amps_of(const struct sample *one) { return one->amps; }

static double energy_wh(void) {
    double sum = 0;
    for (unsigned i = 1; i < count; i++)
        sum += (ring[i].watts + ring[i - 1].watts) / 2.0 * (ring[i].at_ms - ring[i - 1].at_ms);
    return sum / 3600000.0;
}
#endif

static size_t encode(uint8_t *out) {
    size_t used = varint(out, count);
    int32_t before = 0;
    for (unsigned i = 0; i < count; i++) {
        int32_t step = ring[i].watts - before;
        used += varint(out + used, ((uint32_t)step << 1) ^ (uint32_t)(step >> 31));
        before = ring[i].watts;
    }
    uint32_t crc = crc32c(out, used);
    memcpy(out + used, &crc, sizeof crc);
    return used + sizeof crc;
}

int main(int argc, char **argv) {
    static uint8_t frame[RING * 10];
    unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    srand(seed);
    for (int i = 0; i < 300; i++)
        push((struct sample){i * 2000LL, rand() % 4000, 229 + rand() % 3, rand() % 16});
    size_t length = encode(frame);
    printf("meter %s: %zu bytes, %.1f W, %.1f V\n", VERSION, length, rms(watts_of), rms(volts_of));
#if @FIXED@
    printf("current %.2f A, energy %.3f Wh\n", rms(amps_of), energy_wh());
#endif
    return 0;
}
"""
_BUILDS: Final = {"with libraries": ["-static"], "own code alone": []}


def add_arguments(parser: ArgumentParser) -> None:
    """Two images of one's own, instead."""
    parser.add_argument("--base", type=Path, metavar="FILE", help="the image that runs")
    parser.add_argument("--target", type=Path, metavar="FILE", help="the image to come")


def run(options: Namespace) -> dict[str, object]:
    """`saved` is the share of the image that need not be sent."""
    if not deltas.available():
        return {"skipped": "detools is not installed: it needs a C compiler"}
    if options.base and options.target:
        return {"ok": True, "images": _measured(options.base, options.target)}
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return {"skipped": "there is no C compiler: give --base and --target"}
    with tempfile.TemporaryDirectory(prefix="wattline-bench-") as name:
        folder = Path(name)
        found: dict[str, object] = {}
        for build, flags in _BUILDS.items():
            base = _compiled(compiler, folder, "1.0.0", flags)
            found[build] = _measured(base, _compiled(compiler, folder, "1.1.0", flags))
    told = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return {"ok": True, "compiler": told.stdout.splitlines()[0], **found}


def _compiled(compiler: str, folder: Path, version: str, flags: list[str]) -> Path:
    """The program of a version; the newer one mends something and can do more."""
    source, made = folder / f"{version}.c", folder / f"{version}{''.join(flags)}.bin"
    text = _PROGRAM.replace("@VERSION@", version).replace("@FIXED@", str(int(version != "1.0.0")))
    source.write_text(text, encoding="utf-8")
    subprocess.run(
        [compiler, "-Os", "-s", "-o", str(made), str(source), *flags, "-lm"],
        check=True,
        capture_output=True,
    )
    return made


def _measured(base: Path, target: Path) -> dict[str, object]:
    """Sizes in bytes; the patch was applied and made the target."""
    begun = time.perf_counter()
    before, after = base.read_bytes(), target.read_bytes()
    patch = deltas.make(before, after)
    return {
        "base_bytes": len(before),
        "image_bytes": len(after),
        "patch_bytes": len(patch),
        "saved_bytes": len(after) - len(patch),
        "saved": round(1 - len(patch) / len(after), 4),
        "seconds": round(time.perf_counter() - begun, 2),
    }
