"""The help: of the program, of every command, in a narrow terminal, and what the shell completes."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from processes import assert_refused, superfine
from superfine.__main__ import main
from superfine.cli import COMMANDS, EXAMPLES

FRAMES = set("│╭╮╰╯─┃━┏┓")


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_program_alone_shows_three_examples_then_every_command_in_its_group() -> None:
    done = superfine()
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [example in line for (example, _), line in zip(EXAMPLES, lines[2:5], strict=True)] == [True] * 3
    assert [line for line in lines if line in {each.group for each in COMMANDS.values()}] == [
        "Pictures", "Measuring", "Training", "Making models",
    ]  # fmt: skip
    for name, each in COMMANDS.items():
        assert any(line.split()[:1] == [name] and line.endswith(each.summary) for line in lines), name
    assert done.stdout == superfine("-h").stdout == superfine("--help").stdout


def test_help_and_version_import_neither_typer_nor_rich() -> None:
    code = "import sys\nfrom superfine.__main__ import main\nmain(sys.argv[1:])\nprint('|'.join(sys.modules))"
    for argument in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
        assert not {"typer", "rich", "numpy"} & set(done.stdout.splitlines()[-1].split("|"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    help = help_of(capsys, name, "--help")
    assert help == help_of(capsys, name, "-h")
    assert help.startswith(f"Usage: superfine {name} ") and "-h, --help" in help
    assert not FRAMES & set(help) and not any(markup in help for markup in ("<bool>", "**", "`", "\\["))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_help_begins_with(name: str) -> None:
    command = getattr(importlib.import_module(f"superfine.cli.{name}"), name)
    text = command.info.help if isinstance(command, typer.Typer) else inspect.getdoc(command)
    assert text.splitlines()[0] == COMMANDS[name].summary


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("arguments", [["--help"], ["upscale", "--help"], ["benchmark", "--help"]])
def test_no_line_is_wider_than_the_terminal_but_for_examples_to_be_copied(
    arguments: list[str], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for line in help_of(capsys, *arguments).splitlines():
        kept = line.startswith(("  superfine ", "  paper:", "  standard:", "  matlab:", "  rgb:"))
        assert len(line) <= columns or kept, line


def test_the_help_of_upscale_fits_a_screen_and_ends_with_the_advanced_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = help_of(capsys, "upscale", "--help").splitlines()
    assert len(lines) <= 60
    advanced = lines.index("Advanced")
    options = {line.split(",")[0].split()[0] for line in lines[advanced:] if line.startswith("  -")}
    assert {"--tile", "--memory", "--engine", "--precision", "--tta"} <= options
    assert not {"--scale", "-s", "--out", "-o", "--width", "--overwrite"} & options


def test_a_group_of_commands_alone_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert help_of(capsys, "data") == help_of(capsys, "data", "--help")


def test_a_misspelt_command_is_one_line_with_the_nearest_name() -> None:
    assert_refused(superfine("upscal"), "did you mean 'upscale'? Try 'superfine --help'.")


def test_the_shell_completes_commands_and_options_without_importing_a_command() -> None:
    def completed(words: str) -> list[str]:
        environment = {"_SUPERFINE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return superfine(env={**os.environ, **environment}).stdout.split()

    assert completed("superfine re") == ["results", "recipe", "report"]
    assert completed("superfine upscale --ove") == ["--overwrite"]


def test_completion_installs_itself_for_the_shell(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = superfine("--install-completion", "bash", env=environment)
    assert done.returncode == 0, done.stderr
    assert "_SUPERFINE_COMPLETE" in (tmp_path / ".bash_completions" / "superfine.sh").read_text()
