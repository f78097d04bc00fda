"""`manage.py read_meter_file`: a dry run for an operator."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

GOOD = """100,NEM12,202401020304,MDA,RET
200,NMI1,E1,1,E1,N1,SER1,kWh,720,
300,20240115,1.5,2,A,,,20240116000000,
500,N,,,
900
"""


def run(*arguments: str | Path) -> str:
    out = io.StringIO()
    call_command("read_meter_file", *map(str, arguments), stdout=out)
    return out.getvalue()


def test_prints_streams_totals_and_what_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "good.csv"
    path.write_text(GOOD)
    assert run(path).splitlines() == [
        "format: nem12",
        "NMI1 1 E1 SER1 Wh import energy_import",
        (
            "  readings 2, from 2024-01-14T14:00:00Z, to 2024-01-15T14:00:00Z, minutes [720.0],"
            " total 3500, unit Wh, direction import, quality {'actual': 2}"
        ),
        "ignored: 1 × 500",
    ]


def test_prints_one_json_object(tmp_path: Path) -> None:
    path = tmp_path / "good.csv"
    path.write_text(GOOD)
    document: dict[str, Any] = json.loads(run(path, "--json"))
    (stream,) = document.pop("streams")
    assert (stream["meter"], stream["total"], stream["readings"]) == ("NMI1", "3500", 2)
    assert document == {
        "format": "nem12",
        "acceptable": True,
        "problems": [],
        "more_problems": 0,
        "ignored": {"500": 1},
        "local_time": None,
    }


def test_reads_of_registers_are_printed_too(tmp_path: Path) -> None:
    path = tmp_path / "reads.csv"
    path.write_text(
        "100,NEM13,202401020304,MDA,RET\n250,NMI1,11,1,11,11,S,E,1,20240101000000,A,,,2,"
        "20240401000000,E52,,,1,kWh,,,\n900\n"
    )
    (stream,) = json.loads(run(path, "--json"))["streams"]
    assert (stream["from"], stream["to"]) == ("2023-12-31T14:00:00Z", "2024-03-31T14:00:00Z")
    assert (stream["minutes"], stream["quality"]) == ([], {"estimated": 1})


def test_fails_when_something_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv"
    path.write_text(GOOD.replace("900\n", "300,20240116,1,A,,,,\n"))
    out = io.StringIO()
    with pytest.raises(CommandError, match="because of 2 problems; the file as a whole must not"):
        call_command("read_meter_file", str(path), stdout=out)
    day, whole = out.getvalue().splitlines()[-2:]
    assert whole.startswith("refuse_file: The file ends without its last record (900)")
    assert day.startswith("refuse: line 5: The 300 record of NMI1 E1 on 20240116 does not fit")


def test_table_needs_a_mapping(tmp_path: Path) -> None:
    path, mapping = tmp_path / "table.csv", tmp_path / "mapping.json"
    path.write_text("when;kWh\n2024-01-31 00:00;1\n2024-01-31 01:00;2\n")
    with pytest.raises(CommandError, match="its columns are “when”, “kWh”"):
        run(path)
    mapping.write_text('{"time": "when", "values": [{"column": "kWh", "unit": "kWh"}]}')
    (stream,) = json.loads(run(path, "--mapping", mapping, "--json"))["streams"]
    assert (stream["total"], stream["minutes"]) == ("3000", [60.0])


@pytest.mark.parametrize("text", ["", "[]", '{"tim": 1}', "{"])
def test_mapping_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path, mapping = tmp_path / "table.csv", tmp_path / "mapping.json"
    path.write_text(GOOD)
    mapping.write_text(text)
    with pytest.raises(CommandError, match=r"^mapping\.json is no mapping: "):
        run(path, "--mapping", mapping)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nothing\.csv cannot be read: No such file"):
        run(tmp_path / "nothing.csv")
