"""Flags, templates, tables, the words for sizes and durations."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from podling.cli import table
from podling.cli.flags import Flag, UsageError, parse
from podling.cli.output import Format, human_size
from podling.cli.output import table as render_table
from podling.cli.template import Fields, TemplateError, compile
from podling.engine.shapes import human_duration

FLAGS = (
    Flag("all", "a", "bool", ""), Flag("env", "e", "list", ""), Flag("caps", "", "slice", ""), Flag("last", "n", "int", "", -1),
    Flag("tty", "t", "bool", ""), Flag("cpus", "", "float", ""), Flag("name", "", "string", ""), Flag("pull", "", "string", "", "missing", bare="always"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-a"], {"all": True}),
        (["--all=false"], {"all": False}),
        (["-at"], {"all": True, "tty": True}),
        (["-ate", "A=1"], {"all": True, "tty": True, "env": ["A=1"]}),
        (["-eA=1", "-e", "B", "--env=C=2"], {"env": ["A=1", "B", "C=2"]}),
        (["-e=A"], {"env": ["A"]}),
        (["--caps", "a,b", "--caps=c"], {"caps": ["a", "b", "c"]}),
        (["--caps", '"a,b",c'], {"caps": ["a,b", "c"]}),
        (["-n5"], {"last": 5}),
        (["--last=-1"], {"last": -1}),
        (["--cpus", "1.5"], {"cpus": 1.5}),
        (["--pull"], {"pull": "always"}),
        (["--pull=never"], {"pull": "never"}),
        (["--name", "-x"], {"name": "-x"}),
    ],
)
def test_flags(argv: list[str], expected: dict[str, Any]) -> None:
    args = parse(argv, FLAGS)
    assert {key: getattr(args, key) for key in expected} == expected and args.rest == []


def test_other_names_of_flags() -> None:
    flags = (Flag("network", "", "list", ""), Flag("dns-option", "", "slice", ""), Flag("time", "t", "int", ""))
    args = parse(["--net", "none", "--dns-opt=a,b", "--timeout", "3"], flags)
    assert (args.network, args.dns_option, args.time) == (["none"], ["a", "b"], 3)
    with pytest.raises(UsageError, match="unknown flag: --notruncate"):
        parse(["--notruncate"], flags)
    own = (Flag("timeout", "", "int", ""), Flag("time", "t", "int", ""))
    assert parse(["--timeout=3"], own).timeout == 3, "a command's own flag comes first"


def test_where_flags_end() -> None:
    assert parse(["a", "-a", "b"], FLAGS).rest == ["a", "b"]
    args = parse(["-t", "image", "-a", "--", "x"], FLAGS, stop_at_argument=True)
    assert args.rest == ["image", "-a", "--", "x"] and not args.all
    assert parse(["-t", "--", "-a"], FLAGS).rest == ["-a"]


@pytest.mark.parametrize("argv", [["--nosuch"], ["-z"], ["--name"], ["-n", "x"], ["--all=maybe"], ["--cpus=x"]])
def test_bad_flags(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(argv, FLAGS)


DATA = Fields(
    {
        "Name": "web", "Count": 3, "Zero": 0, "None": None, "List": ["a", "b"], "Labels": {"x": "1", "a": "2"}, "Yes": True,
        "State": Fields({"Pid": 7, "Health": Fields({"Status": "ok"})}), "Call": lambda name: f"<{name}>", "Float": 2.5,
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "web"),
        ("{{ .Name }}-{{.Count}}", "web-3"),
        ("{{.State.Health.Status}}", "ok"),
        ("{{json .List}}", '["a","b"]'),
        ("{{json .}}", '{"Name":"web","Count":3,"Zero":0,"None":null,"List":["a","b"],"Labels":{"x":"1","a":"2"},"Yes":true,"State":{"Pid":7,"Health":{"Status":"ok"}},"Float":2.5}'),
        ("{{.List}} {{.Labels}} {{.None}} {{.Yes}} {{.Float}}", "[a b] map[a:2 x:1] <nil> true 2.5"),
        ("{{range .List}}<{{.}}>{{end}}", "<a><b>"),
        ("{{range $i, $v := .List}}{{$i}}={{$v}};{{end}}", "0=a;1=b;"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "a=2 x=1 "),
        ("{{range .None}}x{{else}}empty{{end}}", "empty"),
        ("{{range .List}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
        ("{{if .Yes}}y{{else}}n{{end}}{{if .Zero}}y{{else}}n{{end}}", "yn"),
        ("{{if gt .Count 5}}many{{else if gt .Count 2}}some{{else}}few{{end}}", "some"),
        ("{{if and .Yes (eq .Name \"web\")}}both{{end}}", "both"),
        ("{{if or .Zero .None}}x{{else}}neither{{end}}", "neither"),
        ("{{if not .Zero}}zero{{end}}", "zero"),
        ("{{with .State}}{{.Pid}} {{$.Name}}{{end}}", "7 web"),
        ("{{with .None}}x{{else}}nothing{{end}}", "nothing"),
        ("{{$x := .Count}}{{$x = 4}}{{$x}}", "4"),
        ("{{/* comment */}}a {{- \" b\" -}} c", "a bc"),
        ("{{index .List 1}} {{index .Labels \"x\"}}", "b 1"),
        ("{{len .List}} {{len .Name}}", "2 3"),
        ("{{.Name | upper | printf \"%-5s|\"}}", "WEB  |"),
        ("{{printf \"%q %d %5.1f %v %%\" .Name .Count .Float .List}}", '"web" 3   2.5 [a b] %'),
        ("{{join .List \",\"}} {{.List | join \"-\"}}", "a,b a-b"),
        ("{{index (split \"a:b\" \":\") 1}}", "b"),
        ("{{title \"two words\"}} {{lower \"ABC\"}}", "Two Words abc"),
        ("{{.Call \"x\"}}", "<x>"),
        ("{{slice .Name 1 2}}", "e"),
        ("{{.Labels.missing}}", "<no value>"),
        ("{{(index .List 0)}}", "a"),
        ("{{`raw \"x\"`}}", 'raw "x"'),
        ("{{eq .Count 1 2 3}} {{ne .Count 3}} {{le 2 3}}", "true false true"),
        ("{{print \"a\" 1 2 \"b\"}}", "a1 2b"),
        ("{{html \"<a>\"}}", "&lt;a&gt;"),
    ],
)  # fmt: skip
def test_templates(text: str, expected: str) -> None:
    assert compile(text).render(DATA) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "{{.Name",
        "{{}}",
        "{{.Nmae}}",
        "{{nosuch .Name}}",
        "{{if .Yes}}",
        "{{end}}",
        "{{range .Count}}",
        "{{.Name | }}",
        "{{$x}}",
        "{{index .List 9}}",
        "{{.None.X}}",
        '{{eq 1 "a"}}',
        "{{(.Name}}",
        "{{else}}",
    ],
)
def test_bad_templates(text: str) -> None:
    with pytest.raises(TemplateError):
        compile(text).render(DATA)


def test_wrong_field_suggests_the_right_one() -> None:
    with pytest.raises(TemplateError) as caught:
        compile("{{.name}}").render(DATA)
    assert caught.value.hint == "did you mean .Name?"


def test_tables() -> None:
    assert render_table([["A", "LONG"], ["xxx", "y"]]) == "A    LONG\nxxx  y"
    text = Format("table {{.ID}}\\t{{.Names}}").rows([{"ID": "1", "Names": "one"}], {"ID": "CONTAINER ID"})
    assert text == "CONTAINER ID  NAMES\n1             one"
    assert Format("{{range .}}{{.ID}},{{end}}").rows([{"ID": "1"}, {"ID": "2"}], {}) == "1,2,"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (4_330_000, "4.33 MB"), (123_456_789, "123 MB"), (2.5e9, "2.5 GB")],
)
def test_sizes(size: float, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (150, "2 minutes"),
        (3700, "About an hour"),
        (7200 * 2, "4 hours"),
        (86400 * 3, "3 days"),
        (86400 * 21, "3 weeks"),
        (86400 * 90, "3 months"),
        (86400 * 800, "2 years"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_commands_can_be_loaded() -> None:
    for path in table.COMMANDS:
        command = table.load(path)
        names = [flag.name for flag in command.flags]
        shorts = [flag.short for flag in command.flags if flag.short]
        assert len(names) == len(set(names)) and len(shorts) == len(set(shorts)), path
        assert all(flag.help for flag in command.flags), path


#: what `ps` may load beyond what the interpreter loads by itself. Each entry costs every user at every command.
ALLOWED = {
    "__future__", "_sqlite3", "functools", "collections", "itertools", "keyword", "operator", "reprlib", "_collections", "_functools", "_operator",
    "types", "time", "fcntl", "_struct", "struct", "_json", "genericpath", "posixpath", "stat", "_stat", "os", "abc", "_abc", "_collections_abc",
    "encodings", "collections.abc", "errno",
}  # fmt: skip


def test_what_ps_imports() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from podling.cli import table; from podling.cli.app import App; from podling.cli.flags import parse\n"
        "from podling.engine.local import Engine; import podling.engine.execute.containers, podling.core.context, podling.core.listing\n"
        "import podling.engine.containers, podling.state.database; table.load('ps')\n"
        "import podling.state.migrations\n"
        "print(*(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    foreign = {name for name in found if not name.startswith("podling")}
    assert foreign <= ALLOWED, sorted(foreign - ALLOWED)
