from __future__ import annotations

import json

import pytest

from orchestrator.emulator.config import EmulatorConfig, ObjectSpec, config_from, read_config
from orchestrator.errors import ConfigError


def test_everything_can_be_declared_in_json(tmp_path):
    path = tmp_path / "emulator.json"
    path.write_text(
        json.dumps(
            {
                "speed": 60,
                "custom_objects": [
                    {
                        "name": "airport_c",
                        "fields": [{"name": "iata"}, {"name": "latitude", "data_type": "float"}],
                        "dedupe_fields": ["iata"],
                    }
                ],
                "channels": [{"id": 1, "name": "Event", "statuses": ["Invited"]}],
                "programs": [{"id": 7, "name": "P", "channel": "Event"}],
                "faults": [{"on": "create", "nth": 3, "do": "lose_answer_after_accept"}],
            }
        )
    )
    config = read_config(path)
    assert config.custom_objects[0].fields[1].data_type == "float"
    assert (config.speed, config.programs[0].channel) == (60.0, "Event")
    assert config.faults == ({"on": "create", "nth": 3, "do": "lose_answer_after_accept"},)
    assert config_from({}) == EmulatorConfig()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sped": 1}, "sped"),
        ({"slots": "many"}, "slots"),
        ({"slots": 0}, "slots is 0"),
        ({"speed": 0}, "speed is 0"),
        ({"jitter": 1}, "jitter is 1"),
        ({"start_delay_ms_min": 9, "start_delay_ms_max": 8}, "start_delay_ms_min"),
        ({"partitions": []}, "partitions is empty"),
        ({"programs": [{"id": 1, "name": "P", "channel": "None"}]}, "names channel 'None'"),
        ({"custom_objects": [{"name": "o", "fields": [{"name": "a"}], "dedupe_fields": ["b"]}]}, "no field named 'b'"),
        ({"custom_objects": [{"name": "o", "fields": [{"name": "a"}], "dedupe_fields": []}]}, "dedupe_fields is empty"),
        (
            {"custom_objects": [{"name": "o", "fields": [{"name": "a", "data_type": "blob"}], "dedupe_fields": ["a"]}]},
            "data_type",
        ),
        ({"lists": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "lists names one of its entries twice"),
    ],
)
def test_wrong_values_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        config_from(values)


def test_wrong_files_are_named(tmp_path):
    for content, words in (("{", "is no JSON"), ("[]", "one JSON object")):
        path = tmp_path / "emulator.json"
        path.write_text(content)
        with pytest.raises(ConfigError, match=words) as caught:
            read_config(path)
        assert "emulator.json" in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "absent.json")


def test_a_specification_made_in_code_is_checked_alike():
    with pytest.raises(ConfigError, match="car_c"):
        EmulatorConfig(custom_objects=(ObjectSpec(name="car_c", fields=(), dedupe_fields=("vin",)),))
