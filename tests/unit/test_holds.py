"""Which jobs anybody waits for, as several processes see it."""

import errno

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import ConfigError, JournalStalled
from orchestrator.holds import Holds
from orchestrator.journal import lock
from orchestrator.model import JobId

JOB = JobId("20200101-000000-aaaa")


@pytest.fixture
def holds(tmp_path):
    return [Holds(tmp_path, SystemClock()) for _ in range(3)]


def test_a_job_is_wanted_as_long_as_somebody_waits_for_it(holds):
    first, second, driver = holds
    assert not driver.wanted(JOB)
    assert first.hold(JOB)
    assert not second.hold(JOB)
    assert (first.all, first.first, second.all, second.first) == ([JOB], [JOB], [JOB], [])
    first.let_go(JOB)
    assert second.wanted(JOB)
    assert second.hold(JOB)
    assert driver.wanted(JOB)
    second.let_go(JOB)
    assert not driver.wanted(JOB)


@pytest.mark.parametrize("fault", [OSError(errno.EMFILE, "Too many open files"), JournalStalled("too many open files")])
def test_a_job_is_as_wanted_as_it_was_when_nobody_can_tell(holds, monkeypatch, fault):
    waiting, driver, new = holds

    def in_vain(path):
        raise fault

    def blind():
        with monkeypatch.context() as patch:
            patch.setattr(lock, "owner", in_vain)
            return driver.wanted(JOB), new.wanted(JOB), waiting.wanted(JOB)

    assert blind() == (False, False, False)
    waiting.hold(JOB)
    assert driver.wanted(JOB)
    assert blind() == (True, False, True)
    waiting.let_go(JOB)
    assert not driver.wanted(JOB)
    assert blind() == (False, False, False)


@pytest.mark.parametrize(("number", "raised"), [(errno.EROFS, ConfigError), (errno.ENOSPC, JournalStalled)])
def test_whoever_cannot_let_others_know_waits_for_nothing(holds, monkeypatch, number, raised):
    def in_vain(path):
        raise OSError(number, "", str(path))

    monkeypatch.setattr(lock, "_open", in_vain)
    with pytest.raises(raised):
        holds[0].hold(JOB)
    assert holds[0].all == []
