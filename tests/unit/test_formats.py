"""What templates find in documents: every field of a struct, times and durations as Go has them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from podling.cli import structs
from podling.cli.gotime import Duration, Time
from podling.cli.output import Format
from podling.cli.template import Fields, TemplateError, compile

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "cli-format.tsv"
_COMMANDS = {
    "inspect": "container", "pod inspect": "pod", "image inspect": "image", "info": "info", "version": "version",
    "network inspect": "network", "network ls": "network", "volume inspect": "volume", "volume ls": "volume", "secret inspect": "secret",
    "artifact inspect": "artifact",
}  # fmt: skip
#: what libraries of Go bring along and nobody prints
_FOREIGN = ("CanChangeLayerCompression", "ConfigInfo", "LayerInfos", "UpdateLayerInfos", "UnmarshalJSON")
#: what takes or gives what no template can have: bytes, time zones, or several values
_IMPOSSIBLE = tuple(
    f".{name}"
    for name in "AppendBinary AppendText AppendFormat In GobDecode GobEncode MarshalBinary MarshalJSON MarshalText UnmarshalBinary UnmarshalJSON "
    "UnmarshalText Clock Date ISOWeek Zone ZoneBounds".split()
)
MOMENT = Time.parse("2026-03-31T14:05:06.0789Z")


def render(text: str, document: dict[str, Any], shape: str) -> str:
    return compile(text).render(structs.view(document, shape))


# -- structs
def _full(struct: Any) -> dict[str, Any]:
    """A document in which nothing is nil."""
    made = {}
    for field in struct.fields:
        value: Any = _full(field.inner) if field.inner else None
        for mark in reversed([field.marks[i : i + 2] for i in range(0, len(field.marks.rstrip("*")), 2)]):
            value = [value] if mark == "[]" else {"key": value}
        made[field.key or field.name] = value
    return made


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference tables are not beside this checkout")
def test_every_field_that_podman_has() -> None:
    with REFERENCE.open() as file:
        rows = [
            (row["command"], row["placeholder"]) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]
    count = 0
    for command, placeholder in rows:
        shape = _COMMANDS.get(command)
        if not shape or any(name in placeholder for name in _FOREIGN) or placeholder.endswith(_IMPOSSIBLE):
            continue
        document = _full(structs._read(structs.SHAPES[shape]))
        value: Any = structs.view(document, shape)
        for name in placeholder.split("."):
            if isinstance(value, dict) and not isinstance(value, Fields):
                break  # a map: its keys are not fields
            value = value.field(name) if isinstance(value, Time) else value if name in value.embedded else value[name]
        count += 1
    assert count > 1000


@pytest.mark.parametrize("shape", structs.SHAPES)
def test_an_empty_document_has_all_fields(shape: str) -> None:
    view = structs.view({}, shape)
    assert view and all(value is not ... for value in view.values())
    assert compile("{{json .}}").render(view).startswith("{")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.Config.Entrypoint}}", "[]"),
        ("{{.Config.Labels}}", "map[]"),
        ("{{.Config.StopTimeout}}", "0"),
        ("{{.SizeRw}}", "<nil>"),
        ("{{.State.Pid}} {{.State.OOMKilled}}", "7 false"),
        ("{{range .Mounts}}{{.Type}}:{{.Name}}:{{.SubPath}} {{end}}", "bind:: volume:v: "),
        ("{{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}}{{$net.MacAddress}}{{end}}", "n=10.0.0.2"),
        ("{{.NetworkSettings.InspectBasicNetworkConfig.IPAddress}}", "10.0.0.2"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{.ID}} {{.Id}}", "abc abc"),
        ("{{.Config.SdNotifyMode}} {{.Config.HealthMaxLogCount}}", "conmon 5"),
        ("{{.Config.Healthcheck.Interval}}", "1m30s"),
        ("{{.Created}}", "2026-03-31 14:05:06.0789 +0000 UTC"),
        ("{{json .Created}}", '"2026-03-31T14:05:06.0789Z"'),
        ("{{.State.FinishedAt}} {{.State.FinishedAt.IsZero}}", "0001-01-01 00:00:00 +0000 UTC true"),
        ("{{if .State.Health}}yes{{else}}no{{end}}", "no"),
    ],
)  # fmt: skip
def test_a_container(text: str, expected: str) -> None:
    document = {
        "Id": "abc", "Created": "2026-03-31T14:05:06.0789Z", "State": {"Pid": 7, "FinishedAt": "0001-01-01T00:00:00Z"},
        "Mounts": [{"Type": "bind"}, {"Type": "volume", "Name": "v"}],
        "NetworkSettings": {
            "IPAddress": "10.0.0.2", "Networks": {"n": {"IPAddress": "10.0.0.2"}}, "Ports": {"80/tcp": [{"HostPort": "8080"}], "81/tcp": None},
        },
        "Config": {"sdNotifyMode": "conmon", "HealthcheckMaxLogCount": 5, "Healthcheck": {"Interval": 90 * 10**9}},
    }  # fmt: skip
    assert render(text, document, "container") == expected


def test_what_is_nil_or_unknown_is_told() -> None:
    with pytest.raises(TemplateError, match="nil pointer evaluating Status"):
        render("{{.State.Health.Status}}", {"State": {}}, "container")
    with pytest.raises(TemplateError, match="can't evaluate field Nme") as caught:
        render("{{.Nme}}", {}, "container")
    assert caught.value.hint == "did you mean .Name?"
    with pytest.raises(TemplateError, match="bad number syntax"):
        compile("{{.Created.Format 2006-01-02}}")


def test_keys_with_other_names() -> None:
    assert render("{{.Host.CgroupsVersion}} {{.Host.OCIRuntime.Name}}", {"host": {"cgroupVersion": "v2", "ociRuntime": {"name": "crun"}}}, "info") == "v2 crun"  # fmt: skip
    assert render("{{.InfraConfig.PidNS}}", {"InfraConfig": {"pid_ns": "host"}}, "pod") == "host"
    assert render("{{range .Subnets}}{{.LeaseRange.StartIP}}{{end}}", {"subnets": [{"lease_range": {"start_ip": "10.0.0.9"}}]}, "network") == "10.0.0.9"  # fmt: skip


def test_headings() -> None:
    rows = [{"Names": "web", "Created": MOMENT}]
    text = Format('table {{.Names}}\t{{.Created.Format "15:04"}}\t{{.Other}}').rows(
        [{**rows[0], "Other": 1}], {"Created": "CREATED"}
    )
    assert text.splitlines() == ["NAMES  CREATED  OTHER", "web    14:05    1"]


# -- times
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.Format \"2006-01-02T15:04:05Z07:00\"}}", "2026-03-31T14:05:06Z"),
        ("{{.Format \"Mon, 02 Jan 2006 15:04:05 MST\"}}", "Tue, 31 Mar 2026 14:05:06 UTC"),
        ("{{.Format \"Monday January _2 3:04PM 06 .000 .999\"}}", "Tuesday March 31 2:05PM 26 .078 .078"),
        ("{{.Format \"02/01 at 3 pm, day 002\"}}", "31/03 at 2 pm, day 090"),
        ("{{.Format \"Month -0700 -07:00 Monte\"}}", "Month +0000 +00:00 Monte"),
        ("{{.Year}} {{.Month}} {{.Day}} {{.Weekday}} {{.YearDay}}", "2026 March 31 Tuesday 90"),
        ("{{.Hour}} {{.Minute}} {{.Second}} {{.Nanosecond}}", "14 5 6 78900000"),
        ("{{.Unix}} {{.UnixMilli}} {{.UnixNano}}", "1774965906 1774965906078 1774965906078900000"),
        ("{{.UTC.Location}} {{.IsZero}} {{.IsDST}}", "UTC false false"),
        ("{{.AddDate 0 1 0}}", "2026-05-01 14:05:06.0789 +0000 UTC"),
        ("{{.AddDate 1 -3 1}}", "2027-01-01 14:05:06.0789 +0000 UTC"),
        ("{{.Add 1000000000}}", "2026-03-31 14:05:07.0789 +0000 UTC"),
        ("{{.Truncate 3600000000000}} {{(.Round 3600000000000).Minute}}", "2026-03-31 14:00:00 +0000 UTC 0"),
        ("{{.Sub (.AddDate 0 0 -1)}}", "24h0m0s"),
        ("{{.After (.AddDate 0 0 -1)}} {{.Before .}} {{.Equal .}} {{.Compare .}}", "true false true 0"),
        ("{{.GoString}}", "time.Date(2026, time.March, 31, 14, 5, 6, 78900000, time.UTC)"),
    ],
)  # fmt: skip
def test_times(text: str, expected: str) -> None:
    assert compile(text).render(MOMENT) == expected


def test_zones() -> None:
    moment = Time.parse("2026-03-31T14:05:06+02:00")
    assert str(moment) == "2026-03-31 14:05:06 +0200 +0200" and moment.plain() == "2026-03-31T14:05:06+02:00"
    assert str(moment.field("UTC")) == "2026-03-31 12:05:06 +0000 UTC"
    for text in ("{{.Nothing}}", "{{.Sub 7}}", "{{.Add \"x\"}}"):  # fmt: skip
        with pytest.raises(TemplateError):
            compile(text).render(moment)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"), (3, "3ns"), (2500, "2.5µs"), (1_500_000, "1.5ms"), (30 * 10**9, "30s"), (90_500_000_000, "1m30.5s"),
        (3600 * 10**9, "1h0m0s"), (-10**9, "-1s"),
    ],
)  # fmt: skip
def test_durations(ns: int, text: str) -> None:
    assert str(Duration(ns)) == text
    assert compile("{{.Seconds}}").render(Duration(90 * 10**9)) == "90"
    assert compile("{{.Minutes}} {{.Hours}} {{.Milliseconds}}").render(Duration(90 * 10**9)) == "1.5 0.025 90000"
    assert compile("{{.Round 60000000000}} {{.Truncate 60000000000}}").render(Duration(90 * 10**9)) == "2m0s 1m0s"
