# SPDX-License-Identifier: Apache-2.0
"""Asks the programs' own pure functions, through build/VARIANT/model/answers (answers.c has the
questions)."""
import os
import subprocess

from tests.lab.stack import ROOT, SANITIZERS

PROGRAM = ROOT / "build" / os.environ.get("MODEL_VARIANT", "asan") / "model" / "answers"


def field(value):
    """One field of a question: bytes or text."""
    data = value if isinstance(value, bytes) else value.encode()
    return data.hex() or "-"


def ask(questions):
    """The answers to many questions, each a tuple of the question's name and its fields."""
    text = "".join(" ".join([name, *map(field, fields)]) + "\n" for name, *fields in questions)
    done = subprocess.run(
        [PROGRAM],
        input=text.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=SANITIZERS,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    answers = done.stdout.decode().splitlines()
    assert len(answers) == text.count("\n"), f"{len(answers)} answers; {done.stderr[-2000:]}"
    return answers


def text_of(answer):
    """The text of an answer, and what follows it; None for a refusal."""
    if answer == "!":
        return None
    text, *rest = answer.split(" ")
    return (b"" if text == "-" else bytes.fromhex(text), *map(int, rest))
