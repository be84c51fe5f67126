# SPDX-License-Identifier: Apache-2.0
"""pytest as the one runner: collects what is not Python too (collectors.py) and gives system tests
their labs.

A system test that takes `lab` shares one with others and must not disturb them: its own CNs, users
and Call-IDs, no program stopped, nothing global changed. What can't promise that takes `fresh_lab`,
or `make_lab` for several. After the test the logs of its labs are searched for reports of the
sanitizers; a lab of its own is stopped and every exit status must be 0, so that a leak fails the
test that has it.
"""
import ctypes
import os
import shutil
import signal
import tempfile
import threading

import pytest

from tests import collectors
from tests.lab import postgres
from tests.lab.stack import LabError, Stack

ORDER = ("unit", "model", "fuzz", "sql", "system")
LIMIT_S = 120


ROOM_FOR_LABS = 4 << 30


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="unit tests and fuzz seeds only")


def pytest_configure():
    """Labs go to memory where there is plenty: a copy of a cluster has 1,300 files, mapperd waits for
    the disk at each change, and no test is about the disk. PostgreSQL's programs are its own, not Debian's that look for them in Perl: psql
    starts four times as fast."""
    os.environ["PATH"] = f"{postgres.BIN}:{os.environ.get('PATH', os.defpath)}"
    if os.path.ismount("/dev/shm") and shutil.disk_usage("/dev/shm").free >= ROOM_FOR_LABS:
        os.environ.setdefault("LAB_TMP", "/dev/shm")


def pytest_collect_file(file_path, parent):
    return collectors.collect_file(file_path, parent)


def place(item):
    """Where an item comes in the order: what is quick and says most about a fault comes first."""
    parts = item.path.relative_to(collectors.ROOT / "tests").parts
    return ORDER.index(parts[0]) if parts[0] in ORDER else len(ORDER)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session, config, items):
    """After -k has chosen: what comes last depends on what is left."""
    if config.getoption("quick"):
        quick = [i for i in items if isinstance(i, (collectors.CmockaTest, collectors.FuzzSeeds))]
        config.hook.pytest_deselected(items=[i for i in items if i not in quick])
        items[:] = quick
    items.sort(key=lambda item: (place(item), variant_of(item) == "tsan"))


def pytest_sessionfinish(session):
    collectors.end_shared_cluster(session)


# ---- Labs


class Lab(Stack):
    """A lab of one test or of many, in a temporary folder that goes with it."""

    def __init__(self, **options):
        folder = tempfile.mkdtemp(prefix="holdline-test-", dir=os.environ.get("LAB_TMP"))
        super().__init__(folder, **options)
        self.read_to = {}

    def new_log_text(self):
        """What the logs have got since the last call."""
        text = ""
        for log in sorted(self.log.glob("*.log")):
            with open(log, "rb") as file:
                file.seek(self.read_to.get(log, 0))
                text += file.read().decode(errors="replace")
                self.read_to[log] = file.tell()
        return text

    def new_fault(self):
        """What a sanitizer or an assertion has reported since the last call; empty when nothing."""
        text = self.new_log_text()
        found = collectors.REPORT.search(text)
        return text[max(0, found.start() - 500) :][:6000] if found else ""

    def check(self):
        """Raises when a fault was reported, or a program has ended that nobody stopped."""
        fault = self.new_fault()
        if fault:
            raise LabError(f"a program of the lab reported a fault:\n{fault}")
        for program, process in self.processes.items():
            if not process.alive():
                status = process.exit_status
                raise LabError(f"{program} ended with status {status}\n{self.last_lines(40)}")

    def finish(self):
        """Stops the lab; every program must end by itself, with status 0 and without a fault."""
        self.check()
        statuses = self.stop()
        fault = self.new_fault()
        if fault or any(statuses.values()):
            raise LabError(f"exit statuses {statuses}\n{fault or self.last_lines(40)}")

    def end(self):
        super().end()
        shutil.rmtree(self.folder, ignore_errors=True)


def variant_of(item):
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("variant", "asan") if callspec else "asan"


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker("tsan"):
        metafunc.parametrize("variant", ["asan", "tsan"], indirect=True)


@pytest.fixture(scope="module")
def variant(request):
    """Which build the test runs on."""
    return getattr(request, "param", "asan")


@pytest.fixture(scope="session")
def shared_labs():
    """The labs that tests share, by variant, one set for each process of the runner. At its end they
    must stop with status 0, which says that nothing has leaked in any of them: else the last test
    is the one that has an error."""
    labs, errors = {}, []
    yield labs
    for name, one in labs.items():
        try:
            one.finish()
        except LabError as error:
            errors.append(f"shared lab, {name}: {error}")
        finally:
            one.end()
    assert not errors, "\n".join(errors)


@pytest.fixture
def lab(shared_labs, variant):
    """The lab that tests share, one for each variant."""
    labs = shared_labs
    if variant not in labs:
        new = Lab(variant=variant)
        try:
            new.start()
        except Exception as error:
            text = new.last_lines(40)
            new.end()
            raise LabError(f"{error}\n{text}") from error
        labs[variant] = new
    return labs[variant]


@pytest.fixture
def make_lab(request, variant):
    """make_lab(workers=…, proxy_conf={…}, …) starts a lab of the test's own; several may run side
    by side."""
    labs = request.node.own_labs = []

    def make(**options):
        new = Lab(**{"variant": variant, **options})
        labs.append(new)
        try:
            new.start()
        except Exception as error:
            raise LabError(f"{error}\n{new.last_lines(40)}") from error
        return new

    yield make
    for one in labs:
        one.end()


@pytest.fixture
def fresh_lab(request, make_lab):
    """A lab of the test's own, made as its marker `lab` says."""
    marker = request.node.get_closest_marker("lab")
    return make_lab(**(marker.kwargs if marker else {}))


def begin_limit(limit_s):
    """TimeoutError for the test when the time is over; gives what ends that. Now and then pytest-xdist
    runs all tests of a process in another thread than its main one, which no signal reaches: there it
    comes with the next line that is run."""

    def expired(*_):
        raise TimeoutError(f"the test was not done within {limit_s} s")

    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGALRM, expired)
        signal.alarm(limit_s)
        return lambda: (signal.alarm(0), signal.signal(signal.SIGALRM, before))
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    thread = ctypes.c_ulong(threading.get_ident())
    timer = threading.Timer(limit_s, raise_in, (thread, ctypes.py_object(TimeoutError)))
    timer.daemon = True
    timer.start()
    return timer.cancel


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """The call of a test with its limit of time, and what must hold of its labs afterwards."""
    marker = pyfuncitem.get_closest_marker("limit")
    limit_s = marker.args[0] if marker else LIMIT_S
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    shared = arguments.get("lab")
    own = getattr(pyfuncitem, "own_labs", [])

    end_limit = begin_limit(limit_s)
    try:
        pyfuncitem.obj(**arguments)
        if shared is not None:
            shared.check()
        for one in own:
            one.finish()
    except BaseException:
        for one in own + ([shared] if shared is not None else []):
            if one.log.is_dir():
                pyfuncitem.add_report_section("call", "logs of the lab", one.last_lines(30))
        raise
    finally:
        end_limit()
        if shared is not None and not shared.running():
            pyfuncitem.funcargs["shared_labs"].pop(shared.variant, None)
            shared.end()
    return True
