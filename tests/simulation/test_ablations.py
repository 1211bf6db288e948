"""The campaign notices every safeguard that is taken out, in the world where that was seen first."""

import pytest

from tests.simulation import ablations
from tests.simulation.ablations import ABLATIONS
from tests.simulation.test_campaign import SEEDS  # those are lived through there

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_safeguard_is_missed(name: str) -> None:
    assert ablations.violated(ABLATIONS[name], ABLATIONS[name].seed) == ABLATIONS[name].violates


@pytest.mark.parametrize("seed", sorted({each.seed for each in ABLATIONS.values()} - set(range(SEEDS))))
def test_nothing_is_missing_without_that(seed: int) -> None:
    assert ablations.whole(seed)


def test_the_readme_tells_of_every_one() -> None:
    assert ablations.table() in ablations.README.read_text(encoding="utf-8")
