"""Any history of promotions, repeats and rollbacks by clients that know less than the ledger keeps the rules."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from continuous_training.core.errors import Conflict, UsageError
from continuous_training.ledger import Ledger
from ledger_parts import NOW, key, moment, promotion

CUTOFFS = st.integers(0, 6)


class Histories(RuleBasedStateMachine):
    """The ledger beside the simplest thing that could be right: a list."""

    ledger: Ledger
    models = 0
    views = Bundle("views")

    @initialize(target=views)
    def begin(self) -> int:
        type(self).models += 1
        self.model = f"model {self.models}"
        self.history: list[tuple[int, int, int | None]] = []  # run, cutoff, fence to return to
        self.runs = 0
        return 0

    @rule(target=views)
    def look(self) -> int:
        champion = self.ledger.champion(self.model)
        assert (champion.fence if champion else 0) == len(self.history)
        return len(self.history)

    @rule(seen=views, cutoff=CUTOFFS)
    def promote_a_new_run(self, seen: int, cutoff: int) -> None:
        self.runs += 1
        newest = max((made for _, made, _ in self.history), default=0)
        if seen == len(self.history) and cutoff >= newest:
            self.history.append((self.runs, cutoff, seen or None))
            assert self.ledger.promote(self.model, **promotion(self.runs, seen=seen, cutoff=cutoff)).fence == seen + 1
        else:
            with pytest.raises(Conflict):
                self.ledger.promote(self.model, **promotion(self.runs, seen=seen, cutoff=cutoff))

    @rule(seen=views, cutoff=CUTOFFS, which=st.integers(0, 50))
    def promote_a_run_again(self, seen: int, cutoff: int, which: int) -> None:
        if self.history:
            run = self.history[which % len(self.history)][0]
            again = self.ledger.promote(self.model, **promotion(run, seen=seen, cutoff=cutoff))
            assert (again.kind, again.fence) == ("promotion", [made for made, *_ in self.history].index(run) + 1)

    @rule(seen=views | st.none(), to=st.integers(1, 20) | st.none())
    def roll_back(self, seen: int | None, to: int | None) -> None:
        target = to or (self.history[-1][2] if self.history else None)
        if self.history and seen is not None and seen != len(self.history):
            with pytest.raises(Conflict):
                self.ledger.rollback(self.model, reason="r", now=NOW, to=to, fence_seen=seen)
        elif target is None or target > len(self.history):
            with pytest.raises(UsageError):
                self.ledger.rollback(self.model, reason="r", now=NOW, to=to, fence_seen=seen)
        else:
            back = self.ledger.rollback(self.model, reason="r", now=NOW, to=to, fence_seen=seen)
            if self.history[target - 1][0] != self.history[-1][0]:
                self.history.append(self.history[target - 1])
            assert (back.fence, back.run_key) == (len(self.history), key(self.history[target - 1][0]))

    @invariant()
    def the_ledger_tells_the_same_history(self) -> None:
        if hasattr(self, "model"):
            told = [(c.fence, c.run_key, c.data_cutoff, c.returns_to) for c in self.ledger.history(self.model)]
            known = [(n, key(run), moment(made), back) for n, (run, made, back) in enumerate(self.history, 1)]
            assert told == known[::-1]

    def teardown(self) -> None:
        assert self.ledger.verify() == []


def test_any_history_of_stale_clients_keeps_fences_rising_and_cutoffs_from_going_back() -> None:
    memory = Path("/dev/shm")  # this is about logic, and a disk takes five times as long
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        Histories.ledger = Ledger(f"sqlite:///{folder}/ledger.db")
        rules = settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        )
        run_state_machine_as_test(Histories, settings=rules)
