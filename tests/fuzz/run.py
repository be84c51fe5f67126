# SPDX-License-Identifier: Apache-2.0
"""make fuzz TARGET=name TIME=seconds: runs one fuzzer, or each in turn; its corpus is kept in
build/fuzz/corpus.

What it finds lies in build/fuzz/found; a finding that is mended goes to tests/fuzz/seeds as a test.
"""
import argparse
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.lab.stack import SANITIZERS, without_randomization  # noqa: E402


def run(name, seconds):
    corpus = ROOT / "build" / "fuzz" / "corpus" / name
    found = ROOT / "build" / "fuzz" / "found"
    seeds = ROOT / "tests" / "fuzz" / "seeds" / name
    dictionary = ROOT / "tests" / "fuzz" / f"fuzz_{name}.dict"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    argv = [
        *without_randomization("fuzz"),
        str(ROOT / "build" / "fuzz" / "tests" / "fuzz" / f"fuzz_{name}"),
        f"-max_total_time={seconds}",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={found}/{name}-",
        str(corpus),
    ]
    argv += [str(seeds)] if seeds.is_dir() else []
    argv += [f"-dict={dictionary}"] if dictionary.exists() else []
    print(f"== {name}, {seconds} s", flush=True)
    return subprocess.run(argv, cwd=ROOT, env={**os.environ, **SANITIZERS}, check=False).returncode


def main():
    names = sorted(p.stem.removeprefix("fuzz_") for p in (ROOT / "tests" / "fuzz").glob("fuzz_*.c"))
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("target", choices=["all", *names])
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    chosen = names if arguments.target == "all" else [arguments.target]
    failed = [name for name in chosen if run(name, arguments.seconds) != 0]
    if failed:
        print(f"found something: {', '.join(failed)}; see build/fuzz/found", file=sys.stderr)
    return 1 if failed else 0


sys.exit(main())
