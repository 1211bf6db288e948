from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from orchestrator.model import BatchId, ExitCode, Finding, JobOptions, JobState, Leads, Phase
from orchestrator.report import html
from orchestrator.report.html import render
from orchestrator.report.part import Reason, RowKind
from orchestrator.report.summary import summarise

VOID = {"meta", "br", "link", "img", "input"}
HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(1)>\'"&lt;'


class Page(HTMLParser):
    """Collects what a browser would see, and fails on a page that is not well formed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture
def page(job, source, chunk):
    def make(*, chunks=None, sources=None, findings=(), reasons=(), causes=(), **values):
        chunks = [chunk(1, accepted=9, failed=1)] if chunks is None else chunks
        sources = [source(rows=sum(each.span.rows for each in chunks))] if sources is None else sources
        summary = summarise(
            job=job(**values),
            sources=sources,
            chunks=chunks,
            findings=findings,
            reasons=reasons,
            api_calls={"submit": 1},
            waits={},
            version="1",
            causes=causes,
        )
        return Page(render(summary))

    return make


def test_the_page_tells_what_became_of_the_rows(page):
    text = page(reasons=[Reason(kind=RowKind.FAILURE, text="no luck", rows=1, example_row=7)]).text
    assert "Finished; some rows failed." in text
    assert "Exit code 3" in text
    assert "10 = 9 accepted + 1 failed + 0 unknown + 0 unsent" in text
    assert "no luck" in text
    assert "Next: open failures.csv beside this page" in text
    assert "1 chunk: 1 done" in text
    assert "submit 1 call " in text
    assert "1 min 30 s" in text


def test_the_page_loads_nothing_and_runs_nothing(page):
    made = page()
    assert not [tag for tag, _ in made.tags if tag in ("script", "link", "img", "iframe", "object", "form")]
    names = {name for _, attributes in made.tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "href", "style")]
    (policy,) = [a["content"] for tag, a in made.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert "script-src" not in policy


def test_what_others_wrote_stays_text_wherever_it_stands(page, source, chunk):
    made = page(
        name=HOSTILE,
        labels=((HOSTILE, HOSTILE),),
        api_user=HOSTILE,
        subscription=HOSTILE,
        parent=HOSTILE,
        target=Leads(lookup_field=HOSTILE, partition=HOSTILE),
        chunks=[chunk(1, accepted=9, failed=1)],
        sources=[source(path=HOSTILE, sha256=HOSTILE, encoding=HOSTILE)],
        findings=[Finding(kind=HOSTILE, message=HOSTILE, batch_id=BatchId(1))],
        reasons=[Reason(kind=RowKind.FAILURE, text=HOSTILE, rows=1, example_row=1)],
        causes=[HOSTILE],
    )
    assert not [tag for tag, _ in made.tags if tag in ("script", "img")]
    assert made.text.count("onerror") >= 10


@pytest.mark.parametrize("code", list(ExitCode))
def test_every_ending_has_its_verdict(code):
    assert code in html._VERDICTS


@pytest.mark.parametrize(
    ("state", "phase", "verdict"),
    [
        (JobState.INCOMPLETE, Phase.READY, "Not finished"),
        (JobState.CANCELLED, Phase.CANCELLED, "Cancelled."),
        (JobState.PAUSED, Phase.READY, "Not finished"),
        (JobState.RUNNING, Phase.SUBMITTED, "Not finished"),
    ],
)
def test_an_unfinished_job_says_so(page, chunk, state, phase, verdict):
    assert verdict in page(state=state, chunks=[chunk(1, phase=phase)]).text


def test_what_goes_on_is_named_with_what_it_takes(page, chunk):
    options = JobOptions(flags=" --config '/x/my <b>.toml'")
    text = page(state=JobState.INCOMPLETE, chunks=[chunk(1, phase=Phase.READY)], options=options).text
    assert "Next: orchestrator resume job-1 --config '/x/my <b>.toml'" in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2026-03-01T14:05:09Z", "14:05:09"),
        ("2026-03-02T00:00:01Z", "2026-03-02 00:00:01"),
        (None, "–"),
    ],
)
def test_a_later_time_has_a_date_only_if_it_is_another_day(value, shown):
    assert html._later(value, "2026-03-01T14:00:00Z") == shown


def test_nothing_at_all_makes_a_page_too(page):
    text = page(state=JobState.FAILED, chunks=[], sources=[], paths=(), started_ms=None, finished_ms=None).text
    assert "Nothing was sent." in text
    assert "of 0" in text
    assert "No source was read." in text


def test_long_tables_are_cut_and_say_so(page, chunk, monkeypatch):
    for limit in ("BATCHES_SHOWN_MAX", "FINDINGS_SHOWN_MAX", "REASONS_SHOWN_MAX"):
        monkeypatch.setattr(html, limit, 2)
    chunks = [chunk(at + 7000, first_row=10 * at + 1, accepted=10 - at % 3, failed=at % 3) for at in range(6)]
    made = page(
        chunks=chunks,
        findings=[Finding(kind="k", message=f"finding {at}") for at in range(5)],
        reasons=[Reason(kind=RowKind.FAILURE, text=f"reason {at}", rows=1, example_row=1) for at in range(4)],
    )
    assert "2 of 6 batches" in made.text
    assert "2 of 5 findings" in made.text
    assert "2 of 4 reasons" in made.text
    assert [batch for batch in range(7100, 7106) if f" {batch} " in made.text] == [
        7102,
        7105,
    ]  # most rows failed in these


@pytest.mark.parametrize(
    ("count", "total", "shown"),
    [(0, 0, "–"), (0, 9, "0 %"), (9, 9, "100 %"), (1, 3, "33.33 %"), (1, 10**6, "< 0.01 %"), (10**6 - 1, 10**6, "> 99.99 %")],
)  # fmt: skip
def test_shares_do_not_round_something_to_nothing(count, total, shown):
    assert html._percent(count, total) == shown


def test_bars_fill_the_width_and_hide_nothing():
    bars = html._bars([10**7, 1, 0, 5])
    assert sum(width for _, width in bars) == pytest.approx(100, abs=0.01)
    assert all((width > 0.4) is (count > 0) for (_, width), count in zip(bars, [10**7, 1, 0, 5], strict=True))
    assert html._bars([0, 0]) == [(0.0, 0.0), (0.0, 0.0)]


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (10**8, "100.0 MB"), (8 * 10**12, "8.0 TB")]
)  # fmt: skip
def test_sizes_are_readable(size, shown):
    assert html._size(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (59, "59 s"), (60, "1 min 00 s"), (3661, "1 h 01 min")]
)  # fmt: skip
def test_durations_are_readable(page, seconds, shown):
    text = page(started_ms=0, finished_ms=seconds * 1000).text
    assert f"took {shown}" in text
