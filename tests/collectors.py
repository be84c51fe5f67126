# SPDX-License-Identifier: Apache-2.0
"""Tests that are not Python, as items of pytest: cmocka programs, pgTAP files, fuzzers."""
import os
import re
import shutil
import subprocess
import tempfile

import pytest

from tests.lab import postgres
from tests.lab.stack import ROOT, SANITIZERS, without_randomization

CMOCKA_TEST = re.compile(r"^(?:static )?void\s+(test_\w+)\(\s*void\s*\*\*", re.MULTILINE)
CMOCKA_RESULT = re.compile(r"^(not ok|ok) \d+ - (\w+)", re.MULTILINE)
# What a program says when it has a fault: of a sanitizer, an assertion or the C library.
REPORT = re.compile(
    r"ERROR: (?:Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error: "
    r"|Assertion .* failed|stack smashing detected|buffer overflow detected"
)
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS", "3"))


def run(argv, variant, timeout_s, **environment):
    """Runs a program of a variant; gives its exit status and its whole output."""
    environment = {**os.environ, **SANITIZERS, **environment}
    try:
        done = subprocess.run(
            without_randomization(variant) + [str(a) for a in argv],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        output = output if isinstance(output, str) else output.decode(errors="replace")
        return None, output + f"\nnot finished within {timeout_s} s"
    return done.returncode, done.stdout


class Failed(Exception):
    """Its text is what the person reads."""


class Item(pytest.Item):
    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, Failed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, None, self.name


# ---- cmocka


class CmockaProgram(pytest.File):
    """One program of tests/unit: run once for each variant, on the first of its tests."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.results = {}
        self.names = set()

    def collect(self):
        text = self.path.read_text()
        names = list(dict.fromkeys(CMOCKA_TEST.findall(text)))
        self.names = set(names)
        if not names:
            raise self.CollectError(f"{self.path} has no function test_…(void **)")
        # What starts threads is worth nothing without ThreadSanitizer.
        variants = ["asan", "tsan"] if "pthread_create" in text else ["asan"]
        for variant in variants:
            for name in names:
                shown = name if variant == "asan" else f"{name}[{variant}]"
                yield CmockaTest.from_parent(self, name=shown, test=name, variant=variant)

    def result(self, variant):
        if variant not in self.results:
            program = ROOT / "build" / variant / self.path.relative_to(ROOT).with_suffix("")
            self.results[variant] = run([program], variant, 120, CMOCKA_MESSAGE_OUTPUT="TAP")
        return self.results[variant]


class CmockaTest(Item):
    def __init__(self, *, test, variant, **arguments):
        super().__init__(**arguments)
        self.test = test
        self.variant = variant

    def runtest(self):
        status, output = self.parent.result(self.variant)
        results = {name: verdict for verdict, name in CMOCKA_RESULT.findall(output)}
        # cmocka's exit status counts failed tests. A program that crashed, leaked or hung fails
        # every test in it: none can be trusted.
        whole = status is not None and 0 <= status < 64 and not REPORT.search(output)
        unknown = set(results) - self.parent.names
        if whole and results.get(self.test) == "ok" and not unknown:
            return
        said = f"not found by name: {unknown}" if unknown else results.get(self.test, "no result")
        raise Failed(f"{self.test}: {said}; exit status {status}\n{output[-6000:]}")


# ---- pgTAP


class PgtapFile(pytest.File):
    def collect(self):
        yield PgtapTest.from_parent(self, name=self.path.stem)


class PgtapTest(Item):
    """One file, in a database of its own: a copy of the migrated one."""

    def runtest(self):
        cluster = shared_cluster(self.session)
        database = f"pgtap_{self.name}"
        cluster.sql(f'DROP DATABASE IF EXISTS "{database}"', database="postgres")
        cluster.sql(
            f'CREATE DATABASE "{database}" TEMPLATE {postgres.DATABASE}', database="postgres"
        )
        cluster.sql("CREATE EXTENSION IF NOT EXISTS pgtap", database=database)
        environment = {
            **os.environ,
            **cluster.environment,
            "PGOPTIONS": "-c client_min_messages=warning",
        }
        done = subprocess.run(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", str(self.path)],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        wrong = tap_faults(done.stdout)
        if done.returncode != 0 or wrong:
            raise Failed(
                f"{self.name}: psql's exit status {done.returncode}; {wrong}\n{done.stdout[-6000:]}"
            )
        cluster.sql(f'DROP DATABASE "{database}"', database="postgres")


def tap_faults(output):
    """What is wrong with a TAP stream, in words; empty when nothing is."""
    plan = re.search(r"^1\.\.(\d+)", output, re.MULTILINE)
    results = re.findall(r"^(not ok|ok) \d+.*$", output, re.MULTILINE)
    bad = re.findall(r"^not ok \d+(?!.*# (?:TODO|SKIP)).*$", output, re.MULTILINE)
    if plan is None:
        return "no plan"
    if int(plan[1]) != len(results) or not results:
        return f"planned {plan[1]} tests, ran {len(results)}"
    return "; ".join(bad)


def shared_cluster(session):
    """One PostgreSQL for all pgTAP files; nothing here is about durability."""
    if not hasattr(session, "pgtap_cluster"):
        folder = postgres.make_folder("holdline-pgtap-")
        cluster = session.pgtap_cluster = postgres.Cluster(folder, folder / "log")
        postgres.copy_template(cluster.data)
        cluster.start(fsync="off")
    return session.pgtap_cluster


def end_shared_cluster(session):
    if hasattr(session, "pgtap_cluster"):
        session.pgtap_cluster.stop()
        session.pgtap_cluster.remove()
        del session.pgtap_cluster


# ---- Fuzzers


class FuzzerFile(pytest.File):
    def collect(self):
        yield FuzzSeeds.from_parent(self, name="seeds")
        yield FuzzShortRun.from_parent(self, name="short_run")

    @property
    def fuzzer(self):
        return self.path.stem

    def seeds(self):
        folder = ROOT / "tests" / "fuzz" / "seeds" / self.fuzzer.removeprefix("fuzz_")
        return [folder] if folder.is_dir() else []

    def program(self, variant):
        return ROOT / "build" / variant / "tests" / "fuzz" / self.fuzzer


class FuzzSeeds(Item):
    """The seeds once each, under ASan and UBSan, by the plain main."""

    def runtest(self):
        if not self.parent.seeds():
            raise Failed(f"{self.parent.fuzzer} has no seeds in tests/fuzz/seeds")
        status, output = run([self.parent.program("asan"), *self.parent.seeds()], "asan", 60)
        if status != 0:
            raise Failed(f"{self.parent.fuzzer}: exit status {status}\n{output[-6000:]}")


class FuzzShortRun(Item):
    """A few seconds of libFuzzer: finds the shallow faults, and that the fuzzer itself still
    works."""

    def runtest(self):
        artifacts = ROOT / "build" / "fuzz" / "found"
        artifacts.mkdir(parents=True, exist_ok=True)
        corpus = tempfile.mkdtemp(prefix="holdline-corpus-")
        dictionary = self.path.with_suffix(".dict")
        argv = [
            self.parent.program("fuzz"),
            f"-max_total_time={FUZZ_SECONDS}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            f"-artifact_prefix={artifacts}/{self.parent.fuzzer}-",
            "-print_final_stats=1",
            *([f"-dict={dictionary}"] if dictionary.exists() else []),
            corpus,
            *self.parent.seeds(),
        ]
        try:
            status, output = run(argv, "fuzz", FUZZ_SECONDS + 60)
        finally:
            shutil.rmtree(corpus, ignore_errors=True)
        if status != 0:
            raise Failed(f"{self.parent.fuzzer}: exit status {status}\n{output[-6000:]}")


def collect_file(path, parent):
    inside = path.relative_to(ROOT / "tests").parts if (ROOT / "tests") in path.parents else ("",)
    if inside[0] == "unit" and path.name.startswith("test_") and path.suffix == ".c":
        return CmockaProgram.from_parent(parent, path=path)
    if inside[0] == "sql" and path.suffix == ".sql" and len(inside) == 2:
        return PgtapFile.from_parent(parent, path=path)
    if inside[0] == "fuzz" and path.name.startswith("fuzz_") and path.suffix == ".c":
        return FuzzerFile.from_parent(parent, path=path)
    return None
