from __future__ import annotations

from typing import TYPE_CHECKING

from fixtures_ranks import ThreadRanks, in_ranks
from fixtures_runs import QUICK
from lenscope.errors import RankLostError
from lenscope.runs.follow import follow_run
from lenscope.runs.record import record_run
from lenscope.runs.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_rank_that_lost_another_one_refers_to_the_first(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ThreadRanks, "lost", property(lambda ranks: ranks.info.rank == 1, lambda *_: None), raising=False
    )

    def work(ranks: ThreadRanks) -> Run | None:
        if ranks.info.rank:
            return follow_run(ranks, lambda _: tiny)
        return record_run(QUICK.with_settings(engine="torch", threads=1, epochs=1), tiny, tmp_path / "run", None, ranks)

    first, second = in_ranks(2, work)
    assert isinstance(first, Run)
    assert isinstance(second, RankLostError)
    assert str(second) == "another of the 2 ranks has ended; the first rank says how to resume"
