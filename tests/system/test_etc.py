# SPDX-License-Identifier: Apache-2.0
"""The sample configurations are right for the programs that they are for."""
import subprocess

import pytest

from tests.lab.stack import PROGRAMS, ROOT


@pytest.mark.parametrize("program", PROGRAMS)
def test_sample_configuration_is_accepted(lab, program, tmp_path):
    """With its certificates' paths replaced by the lab's, since those must be readable."""
    text = (ROOT / "etc" / f"{program}.conf").read_text()
    for sample, real in (
        ("/etc/holdline/device-ca.pem", "ca.pem"),
        ("/etc/holdline/corp-ca.pem", "ca2.pem"),
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
