"""Random histories of feedback, runs, ticks, kills, hands and clocks; whatever happened, in the end all is consumed.

`LIFECYCLE_EXAMPLES` sets how many histories are tried (100).
"""

import os
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chapter_assets.errors import StoreError
from chapter_assets.lifecycle import finetunes as states
from chapter_assets.lifecycle.finetunes import IN_PROGRESS, Finetune, State
from chapter_assets.lifecycle.retrain import (
    Asked,
    Batch,
    Decision,
    Limits,
    Run,
    Skip,
    View,
    carry_out,
    decide,
    run_key,
    settle,
)
from chapter_assets.store import Store
from chapter_assets_tests.lifecycle.made_up import NOW, freeze, make
from chapter_assets_tests.lifecycle.test_finetunes import Killed, die_at

LIMITS = Limits(min_edits=20, min_batches=3, max_attempts=2, most_hours=24)
WEEKLY = replace(LIMITS, min_batches=1)
CLOCK = st.sampled_from([0.02, 0.2, 5, 30, 9000, -0.2, -9000])
_RAM = Path("/dev/shm")
_PATH: tuple[State, ...] = ("set_frozen", "trained", "evaluated", "kept")


@dataclass
class Executed:
    """A run as Dagster has it; `killed`: it says in progress, and nothing will ever come of it."""

    id: str
    finetune: str
    run_key: str | None
    passed: int = 0
    status: str = "in_progress"
    killed: bool = False


class Histories(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=_RAM if _RAM.is_dir() else None)
        self.store = Store(Path(self.folder.name))
        self.now = NOW
        self.batches: dict[str, Batch] = {}
        self.registered: set[str] = set()
        self.unreadable: set[str] = set()
        self.runs: list[Executed] = []
        self.asked: dict[str, tuple[str, int]] = {}
        self.by_hand: dict[str, list[Batch]] = {}
        self.deleted: set[str] = set()

    # What users and disks do

    @rule(edits=st.lists(st.sampled_from([0, 5, 12, 30]), min_size=1, max_size=3))
    def batches_arrive(self, edits: list[int]) -> None:
        for number in edits:
            key = f"b{len(self.batches)}"
            self.batches[key] = Batch(key, "1", number)
            self.registered.add(key)

    @rule(data=st.data(), version=st.sampled_from(["1", "2", "3"]))
    @precondition(lambda self: self.batches)
    def a_batch_is_made_again(self, data: st.DataObject, version: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.batches)))
        self.batches[key] = replace(self.batches[key], version=version)

    @rule(data=st.data())
    @precondition(lambda self: self.batches)
    def a_key_is_taken_away_or_put_back(self, data: st.DataObject) -> None:
        self.registered ^= {data.draw(st.sampled_from(sorted(self.batches)))}

    @rule(data=st.data())
    @precondition(lambda self: self.batches)
    def a_batch_becomes_unreadable_or_readable(self, data: st.DataObject) -> None:
        self.unreadable ^= {data.draw(st.sampled_from(sorted(self.batches)))}

    @rule(hours=CLOCK)
    def the_clock_goes_on_or_jumps(self, hours: float) -> None:
        self.now += timedelta(hours=hours)

    # What the daemon does

    def current(self) -> list[Batch]:
        return [b for key, b in sorted(self.batches.items()) if key in self.registered - self.unreadable]

    def run_of(self, finetune: Finetune) -> Run:
        key = run_key(finetune.evidence, finetune.attempt)
        found = {run.status for run in self.runs if run.run_key == key or run.id in finetune.runs}
        return next((Run(s) for s in ("in_progress", "succeeded", "failed") if s in found), Run("none"))

    def view(self) -> View:
        finetunes = states.read_all(self.store)
        runs = {f.key: self.run_of(f) for f in finetunes}
        return View(self.current(), finetunes, runs, "model", "recipe", sorted(self.unreadable & self.registered))

    def decided(self, limits: Limits = LIMITS) -> Decision:
        before = self.view()
        settle(self.store, before.finetunes, before.runs, limits, self.now)
        return decide(self.view(), limits, self.now)

    def deliver(self, answer: Asked | Skip) -> None:
        if isinstance(answer, Skip):
            assert answer.reason
            return
        asked = (answer.finetune, answer.attempt)
        assert self.asked.setdefault(answer.run_key, asked) == asked
        if all(run.run_key != answer.run_key for run in self.runs):  # Dagster starts one run for a key, ever
            self.runs.append(Executed(f"run-{len(self.runs):08d}", answer.finetune, answer.run_key))

    def tick(self, limits: Limits = LIMITS) -> Asked | Skip:
        answer = carry_out(self.store, self.decided(limits), self.by_hand, self.now)
        self.deliver(answer)
        return answer

    @rule(weekly=st.booleans())
    def a_tick(self, weekly: bool) -> None:
        self.tick(WEEKLY if weekly else LIMITS)

    @rule(hours=CLOCK)
    def a_tick_whose_answer_is_lost(self, hours: float) -> None:
        carry_out(self.store, self.decided(), self.by_hand, self.now)
        self.the_clock_goes_on_or_jumps(hours)

    @rule(call=st.integers(1, 2), name=st.sampled_from(["link", "fsync"]), after=st.booleans())
    def a_tick_that_is_killed_while_it_claims(self, call: int, name: str, after: bool) -> None:
        decision = self.decided()
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, name, call, after)
            with suppress(Killed):
                self.deliver(carry_out(self.store, decision, self.by_hand, self.now))

    @rule(more=st.booleans())
    def two_ticks_at_once(self, more: bool) -> None:
        first = self.decided()
        if more:
            self.batches_arrive([30])
        second = self.decided()
        answers = [carry_out(self.store, decision, self.by_hand, self.now) for decision in (second, first)]
        if not more:
            assert sum(isinstance(answer, Asked) for answer in answers) <= 1
        for answer in answers:
            self.deliver(answer)

    # What runs do

    def alive(self) -> list[Executed]:
        return [run for run in self.runs if run.status == "in_progress" and not run.killed]

    def work(self, run: Executed) -> None:
        """One step of a run: frozen, trained, evaluated, decided, ended."""
        if run.passed == len(_PATH):
            run.status = "succeeded"
            return
        state = _PATH[run.passed]
        if state == "set_frozen" and not self.store.exists("training_set", run.finetune):
            current = {batch.key: batch.version for batch in self.current()}
            keys = states.feedback_for(self.store, run.finetune, current)
            if keys is None:
                wanted = {batch.key: batch.version for batch in self.by_hand[run.finetune]}
            else:
                wanted = {key: current.get(key, "gone") for key in keys}
            freeze(self.store, run.finetune, *(f"{key}@{version}" for key, version in wanted.items()))
            try:
                states.check_claim(
                    self.store, run.finetune, self.store.details("training_set", run.finetune)["manifest"]
                )
            except StoreError:
                shutil.rmtree(self.store.place("training_set", run.finetune))
                run.status = "failed"
                return
        if state in ("trained", "evaluated"):
            make(self.store, {"trained": "lora_adapter", "evaluated": "eval_report"}[state], run.finetune)
        states.advance(self.store, run.finetune, state, run.id, "as it was judged", self.now)
        run.passed += 1

    @rule(data=st.data(), steps=st.integers(1, 5))
    @precondition(lambda self: self.alive())
    def a_run_goes_on(self, data: st.DataObject, steps: int) -> None:
        run = data.draw(st.sampled_from(self.alive()))
        for _ in range(steps):
            if run.status == "in_progress":
                self.work(run)

    @rule(data=st.data(), ending=st.sampled_from(["failed", "killed", "deleted"]), hours=CLOCK)
    @precondition(lambda self: self.alive())
    def a_run_ends_badly(self, data: st.DataObject, ending: str, hours: float) -> None:
        run = data.draw(st.sampled_from(self.alive()))
        if ending == "deleted":
            self.runs.remove(run)
        elif ending == "killed":
            run.killed = True
        else:
            run.status = "failed"
        self.the_clock_goes_on_or_jumps(hours)

    @rule()
    def killed_runs_are_found(self) -> None:
        for run in self.runs:
            if run.killed:
                run.status = "failed"

    # What people do

    @rule(data=st.data(), steps=st.integers(0, 5))
    def a_hand_starts_a_finetune(self, data: st.DataObject, steps: int) -> None:
        known = {f.key for f in states.read_all(self.store)} | set(self.by_hand)
        key = states.next_key(known)
        chosen = data.draw(st.lists(st.sampled_from(self.current()), unique=True)) if self.current() else []
        self.by_hand[key] = chosen
        run = Executed(f"run-{len(self.runs):08d}", key, None)
        self.runs.append(run)
        for _ in range(steps):
            self.work(run)
        if data.draw(st.booleans()):
            run.status = "succeeded"  # only so far was asked for

    @rule(data=st.data())
    @precondition(lambda self: self.given_up())
    def a_hand_takes_up_what_had_failed(self, data: st.DataObject) -> None:
        finetune = data.draw(st.sampled_from(self.given_up()))
        run = Executed(f"run-{len(self.runs):08d}", finetune.key, None)
        self.runs.append(run)
        self.work(run)

    @rule(data=st.data())
    @precondition(lambda self: self.given_up())
    def a_person_says_retry(self, data: st.DataObject) -> None:
        finetune = data.draw(st.sampled_from(self.given_up()))
        if not finetune.by_hand:
            states.give_attempts(self.store, finetune.key, "mended", self.now)

    def given_up(self) -> list[Finetune]:
        return [f for f in states.read_all(self.store) if f.state in ("failed", "abandoned")]

    @rule(data=st.data())
    @precondition(lambda self: self.claims())
    def a_state_is_damaged_and_then_deleted(self, data: st.DataObject) -> None:
        finetune = data.draw(st.sampled_from(self.claims()))
        path = self.store.root / "lifecycle" / "finetunes" / f"{finetune.key}.json"
        path.write_bytes(path.read_bytes()[: data.draw(st.integers(0, 100))])
        with pytest.raises(StoreError):
            self.decided()
        path.unlink()
        self.deleted.add(finetune.key)

    # What must hold

    def claims(self) -> list[Finetune]:
        return [f for f in states.read_all(self.store) if not f.by_hand]

    def by_itself(self) -> list[Finetune]:
        """Finetunes that no person revived: by giving attempts, by a run of the hand, by deleting the state."""
        left_alone = [f for f in self.claims() if not f.forgiven and f.key not in self.deleted]
        return [f for f in left_alone if not any("taken up" in step.reason for step in f.history)]

    @invariant()
    def no_evidence_has_two_finetunes(self) -> None:
        hashes = [f.evidence.hash for f in self.claims()]
        assert len(hashes) == len(set(hashes))
        held = Counter(pair for f in self.by_itself() if f.state != "abandoned" for pair in f.evidence.batches)
        assert not [pair for pair, times in held.items() if times > 1]

    def be_quiet(self, limits: Limits) -> None:
        """Ticks, ten hours apart, and runs that succeed if they can, until nothing happens any more."""
        silent = 0
        for _ in range(60):
            for run in self.alive():
                while run.status == "in_progress":
                    self.work(run)
            self.now += timedelta(hours=10)
            answer = self.tick(limits)
            moving = isinstance(answer, Asked) or "abandoned:" in answer.reason.split(";")[0]
            silent = 0 if moving or any(f.state in IN_PROGRESS for f in self.claims()) else silent + 1
            if silent == 4:  # longer than the silence that counts as death
                return
        raise AssertionError(f"After 60 ticks still: {answer}")

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.unreadable.clear()
        for limits in (LIMITS, WEEKLY):
            self.be_quiet(limits)
            finetunes = states.read_all(self.store)
            # Only what a person began and left lying goes no further.
            assert all(f.by_hand for f in finetunes if f.state in (*IN_PROGRESS, "failed"))
            consumed = {pair for f in finetunes if f.state in ("kept", "promoted") for pair in f.evidence.batches}
            consumed |= {pair for f in finetunes if f.state == "evaluated" for pair in f.evidence.batches}
            given_up = {pair for f in finetunes if f.state == "abandoned" for pair in f.evidence.batches}
            left = [batch for batch in self.current() if (batch.key, batch.version) not in consumed]
            new = [batch for batch in left if (batch.key, batch.version) not in given_up]
            enough = len(left) >= limits.min_batches or sum(b.edits for b in left) >= limits.min_edits
            assert not (new and enough), left
        self.folder.cleanup()


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=int(os.environ.get("LIFECYCLE_EXAMPLES", "100")),
    stateful_step_count=50,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # to shrink a history took more than five minutes
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
