# SPDX-License-Identifier: Apache-2.0
"""The samples in etc/ are right for their programs; what these say of themselves."""
import re
import subprocess

import pytest

from tests.lab.stack import PROGRAMS, ROOT


BINARIES = [*PROGRAMS.values(), "mapctl"]
UNITS = sorted((ROOT / "etc" / "systemd").glob("*.service"))


def run(lab, binary, *arguments):
    argv = [lab.binary(binary), *arguments]
    return subprocess.run(argv, capture_output=True, text=True)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("commented", [True, False])
def test_sample_configuration_is_accepted(lab, program, commented, tmp_path):
    """With its certificates' paths replaced by the lab's, since those must be readable; and with
    what is commented out there taken in."""
    text = (ROOT / "etc" / f"{program}.conf").read_text()
    if not commented:
        line = r"^( *)# ( *(?:[a-z_]+ = |(?:[a-z_]+ ){2}\{|\}))"
        text = re.sub(line, r"\1\2", text, flags=re.MULTILINE)
        text = text.replace("192.0.2.1:5060", "127.0.0.1:5060")
        assert not re.search(r"^#.*[={}]", text, re.MULTILINE)
        text = re.sub(r"^ *crl = .*\n", "", text, flags=re.MULTILINE)  # the lab has none
    for sample, real in (
        ("/etc/holdline/device-ca.pem", "ca.pem"),
        ("/etc/holdline/corp-ca.pem", "ca2.pem"),
        ("/etc/holdline/federation-ca.pem", "ca.pem"),
        ("/etc/holdline/server.pem", "server.pem"),
        ("/etc/holdline/server.key", "server.key"),
        ("/var/lib/holdline", "."),
    ):
        text = text.replace(sample, str(lab.path(real)))
    conf = tmp_path / f"{program}.conf"
    conf.write_text(text)
    argv = [lab.binary(PROGRAMS[program]), "--check-config", "--config", conf]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_unknown_option_is_named_with_file_and_line(lab, program, tmp_path):
    conf = tmp_path / "broken.conf"
    conf.write_text('name = "x"\nno_such_option = 1\n')
    argv = [lab.binary(PROGRAMS[program]), "--check-config", "--config", conf]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode != 0
    assert f"{conf}:2:" in done.stdout and "no_such_option" in done.stdout


@pytest.mark.parametrize("binary", BINARIES)
def test_program_tells_its_build_and_wrong_usage_is_status_2(lab, binary):
    done = run(lab, binary, "--version")
    assert done.returncode == 0 and re.fullmatch(rf"{binary} \S+\n", done.stdout)
    for option in ("--help", "-h"):
        done = run(lab, binary, option)
        assert done.returncode == 0 and "--version" in done.stdout and not done.stderr
    for wrong in (["--no-such-option"], [], ["operand"]):
        done = run(lab, binary, *wrong)
        assert done.returncode == 2 and not done.stdout and done.stderr


@pytest.mark.parametrize("binary", PROGRAMS.values())
def test_help_tells_the_unit_of_every_time(lab, binary):
    """A number has it in its name or its help, or counts things, which help names."""
    help = run(lab, binary, "--help-config").stdout
    options = re.findall(r"^ *(\w+)\n {8}(.*)\n {8}\((\w+)", help, re.MULTILINE)
    assert len(options) > 20
    for name, text, kind in options:
        if kind == "number" and re.search(r"(?i)how long|when|time(?!s)", f"{name} {text}"):
            assert re.search(r"_(ms|s)$", name) or re.search(r"(?i)seconds", text), name


@pytest.mark.parametrize("binary", PROGRAMS.values())
def test_man_page_has_every_option(lab, binary):
    page = run(lab, binary, "--help-man").stdout
    options = re.findall(r"^ *(\w+)\n {8}", run(lab, binary, "--help-config").stdout, re.MULTILINE)
    assert page.startswith(f".TH {binary} 8\n")
    assert re.findall(r"^\.TP\n\.B (\w+)$", page, re.MULTILINE) == options


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_unit_starts_what_there_is_and_gives_it_no_more_than_it_needs(lab, unit):
    lines = unit.read_text().splitlines()
    binary, *words = next(line for line in lines if line.startswith("ExecStart=")).split()
    binary = binary.rpartition("/")[2]
    help = run(lab, binary, *(words[:1] if binary == "mapctl" else []), "--help").stdout
    assert all(word in help for word in words if word.startswith("--"))
    for want in ("User=holdline", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "UMask=0027",
                 "ProtectSystem=strict", "MemoryDenyWriteExecute=yes", "RestrictNamespaces=yes",
                 "SystemCallFilter=@system-service", "SystemCallArchitectures=native"):
        assert want in lines, want
