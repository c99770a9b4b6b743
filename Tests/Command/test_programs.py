"""What every program says of itself."""

import subprocess

import pytest
from conftest import BUILT

PROGRAMS = ["gatepost", "gatepost-frontend", "gatepost-worker"]


def says(program, *arguments):
    return subprocess.run([BUILT / program, *arguments], capture_output=True, text=True, timeout=30)


def test_all_programs_have_one_version():
    said = [says(program, "--version") for program in PROGRAMS]
    assert [done.returncode for done in said] == [0, 0, 0], said
    assert {done.stdout for done in said} == {"0.1.0\n"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_names_the_program_and_says_what_it_does(program):
    done = says(program, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("OVERVIEW: "), done.stdout
    assert f"USAGE: {program} " in done.stdout
    mistaken = says(program, "--no-such-option")
    assert mistaken.returncode == 64 and f"'{program} --help'" in mistaken.stderr


@pytest.mark.parametrize("command", [
    ["gatepost", "run"], ["gatepost", "check"], ["gatepost", "workers"], ["gatepost", "poison", "list"],
    ["gatepost-frontend"], ["gatepost-worker"],
])
def test_the_configuration_folder_has_one_default(command):
    assert "(default: config)" in says(*command, "--help").stdout
