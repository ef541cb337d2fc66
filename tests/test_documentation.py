"""The documentation matches the program: flags, verbs, files, and the README's first screen."""

import inspect
import json
import re
import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

from vastmax.cli.app import app
from vastmax.cli.reference import reference
from vastmax.embeddings import EmbeddingOptions, train
from vastmax.language import LoopOptions, ModelOptions
from vastmax.trees import TreeOptions

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_command_line_page_is_what_the_program_says() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference(), "run: make reference"


def flags_of(*verb: str) -> dict[str, Any]:
    command: Any = typer.main.get_command(app)
    for name in verb:
        command = command.commands[name]
    return {parameter.name: parameter for parameter in command.params}


def test_flags_are_the_arguments_of_train() -> None:
    flags = flags_of("train")
    arguments = {name: each for name, each in inspect.signature(train).parameters.items() if name != "progress"}
    assert set(flags) - {"as_json"} == set(arguments)
    for name, argument in arguments.items():
        if name in {"corpus", "output"}:
            continue
        # Defaults that the command line must write as text: a number of passes or a file, and a list.
        default = {"phrases": "0", "connector_words": ""}.get(name, argument.default)
        assert flags[name].default == default, name
        flag = {"layer_options": "option"}.get(name, name)  # given one at a time
        assert flags[name].opts[-1] == "--" + flag.replace("_", "-")


@pytest.mark.parametrize(
    ("verb", "options", "other_names"),
    [
        (["train"], EmbeddingOptions, {}),
        (["lm", "train"], ModelOptions, {}),
        (["lm", "train"], LoopOptions, {}),
        (["compare"], ModelOptions, {}),
        (["compare"], LoopOptions, {"minutes": "minutes_each"}),
        (["tree"], TreeOptions, {}),
    ],
)
def test_every_option_is_a_flag(verb: list[str], options: type, other_names: dict[str, str]) -> None:
    flags = flags_of(*verb)
    for field in fields(options):
        flag = flags[other_names.get(field.name, field.name)]
        assert flag.help.endswith("."), field.name
        assert flag.default in (field.default, None), field.name


def test_every_flag_has_help() -> None:
    def check(command: Any) -> None:
        for parameter in command.params:
            assert parameter.help, (command.name, parameter.name)
        for each in getattr(command, "commands", {}).values():
            check(each)

    check(typer.main.get_command(app))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_flags_and_verbs_in_the_pages_exist(page: Path) -> None:
    known = reference()
    for line in re.findall(r"^\s*(vastmax .*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = line.split()
        verb = " ".join(words[1:3]) if f"\n## {' '.join(words[1:3])}\n" in known else words[1]
        assert f"\n## {verb}\n" in known, line
        section = known.split(f"\n## {verb}\n")[1].split("\n## ")[0]
        for flag in re.findall(r"(?<=\s)--?[a-z][a-z-]*", line.split("#")[0]):
            assert f"`{flag}`" in section, line


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_whole_without_the_site(page: Path) -> None:
    """Pages render on GitHub too: no syntax that only the site generator expands."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^\s*;*-+8<-+|^:::(?! vastmax)|\{%", text, re.MULTILINE)


def test_the_page_shows_the_example_as_it_is() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown == [(ROOT / "examples" / "cosine_softmax.py").read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md"])
def test_pages_of_the_site_that_stand_for_a_file_of_the_root(name: str) -> None:
    page = ROOT / "docs" / name.lower()
    stub = page.read_text(encoding="utf-8")
    (target,) = re.findall(r"\]\((.+)\)", stub)
    assert (page.parent / target).samefile(ROOT / name)
    hooks = runpy.run_path(str(ROOT / "mkdocs_hooks.py"))
    assert hooks["on_page_markdown"](stub, page=None) == (ROOT / name).read_text(encoding="utf-8").replace(
        "](docs/", "]("
    )
    assert hooks["on_page_markdown"]("# Text\n" + stub) == "# Text\n" + stub


def test_readme_says_first_what_it_is_and_what_to_type() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("make demo") for line in lines[:12])
    assert any(line.startswith("make test") for line in lines[:12])
    assert any("vastmax.train(" in line for line in lines[:30])


@pytest.mark.parametrize(
    "page",
    [*sorted((ROOT / "docs" / "layers").glob("*.md")), ROOT / "docs" / "diagnostics.md"],
    ids=lambda page: page.name,
)
def test_examples_of_layers_run(page: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks, "every page shows its layer at work"
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)


def test_tables_are_in_step_with_the_records() -> None:
    program = [sys.executable, str(ROOT / "studies" / "tables.py"), "--check"]
    said = subprocess.run(program, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_pictures_show_every_run_of_the_records(tmp_path: Path) -> None:
    records = ROOT / "studies" / "ptb-trees" / "records.jsonl"
    picture = tmp_path / "trees.svg"
    program = [sys.executable, "-m", "studies.pictures", str(records), str(picture)]
    said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    drawn = picture.read_text(encoding="utf-8")
    for line in records.read_text(encoding="utf-8").splitlines():
        # the comment that matplotlib writes above the outlines of a text, once in each half
        assert drawn.count(f"<!-- {json.loads(line)['label']} -->") == 2
    assert list(tmp_path.iterdir()) == [picture]


@pytest.mark.parametrize(
    "records", sorted((ROOT / "studies").glob("*/records.jsonl")), ids=lambda file: file.parent.name
)
def test_pictures_are_in_step_with_the_records(records: Path) -> None:
    drawn = (ROOT / "docs" / "images" / f"{records.parent.name}.svg").read_text(encoding="utf-8")
    for line in records.read_text(encoding="utf-8").splitlines():
        label = json.loads(line)["label"]
        assert re.search(rf"<!-- {re.escape(label)}( \([\d,]+\))? -->", drawn), label
