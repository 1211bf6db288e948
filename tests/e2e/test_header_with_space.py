"""The example of Marketo's own documentation: a blank in the header before the dedupe field, and every row fails."""

from __future__ import annotations

from tests.e2e import leads, targets
from tests.e2e.kit import Place

HEADER = "color,make,model, vin"
CARS = ("red,bmw,2002,WBA4R7C55HK895912", "yellow,bmw,320i,WBA4R7C30HK896061", "blue,bmw,325i,WBS3U9C52HP970604")
OBJECT = ("--object", "custom:car_c")


def test_it_is_refused_and_nothing_is_sent(place: Place) -> None:
    place.write("cars.csv", "\n".join((HEADER, *CARS, "")))
    before = place.marketo.creates()

    ended = place.run("import", "cars.csv", *OBJECT)

    assert ended.code == 4, ended.err
    assert "column 4, ' vin': there are blanks around the name; remove them" in ended.err
    assert "there is no column 'vin'" in ended.err
    assert ended.out == ""
    assert place.marketo.creates() == before
    assert targets.held(place.marketo, "car_c", "hk89") == []


def test_without_the_check_all_three_rows_fail_and_are_reported_as_they_stand(place: Place) -> None:
    place.write("cars.csv", "\n".join((HEADER, *CARS, "")))

    ended = place.run("import", "cars.csv", *OBJECT, "--no-check", "--out", "report")

    assert ended.code == 3, ended.err
    report = place.directory / "report"
    summary = leads.read_summary(report)
    (batch,) = summary["batches"]
    assert (batch["rows"], batch["accepted"], batch["failed"], batch["warned"]) == (3, 0, 3, 0)
    assert (summary["rows"]["accepted"], summary["rows"]["failed"], summary["rows"]["unmatched"]) == (0, 3, 0)
    assert [(one["reason"], one["rows"], one["example_row"]) for one in summary["reasons"]] == [
        ("missing.dedupe.fields", 3, 1)
    ]
    assert (report / "failures.csv").read_bytes().decode() == "".join(
        [
            f"source_file,source_row,source_line,batch_id,{HEADER},Import Failure Reason\n",
            *(
                f"cars.csv,{n},{n + 1},{batch['batch_id']},{car},missing.dedupe.fields\n"
                for n, car in enumerate(CARS, 1)
            ),
        ]
    )
    assert (report / "warnings.csv").read_bytes().decode() == (
        f"source_file,source_row,source_line,batch_id,{HEADER},Import Warning Reason\n"
    )
    assert targets.held(place.marketo, "car_c", "hk89") == []


def test_with_the_header_right_the_same_rows_arrive(place: Place) -> None:
    place.write("cars.csv", "\n".join((HEADER.replace(" ", ""), *CARS, "")))

    ended = place.run("import", "cars.csv", *OBJECT)

    assert ended.code == 0, ended.err
    held = [record["values"] for car in CARS for record in targets.held(place.marketo, "car_c", car[-8:].casefold())]
    assert [",".join(values[column] for column in ("color", "make", "model", "vin")) for values in held] == list(CARS)
