from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from bank import OVERHEAD, Bank, Death, Faults, FaultyChannel, deadly
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorSampler
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment.channels.channel import Refused, Request
from qiskit_metainit.deployment.spending.ledger import Ledger, LedgerError
from qiskit_metainit.deployment.spending.primitives import LedgeredEstimator, LedgeredSampler
from qiskit_metainit.deployment.spending.records import Spent
from qiskit_metainit.deployment.spending.spender import BudgetSpent, Reserve, RunInterruptedError, Spender

SHOTS = 24
POINTS = 2
JOB = SHOTS * POINTS
THETA = Parameter("theta")


def circuit(gate: str = "rx") -> QuantumCircuit:
    made = QuantumCircuit(2)
    getattr(made, gate)(THETA, 0)
    made.cx(0, 1)
    made.measure_all()
    return made


CIRCUIT = circuit()
UNMEASURED = CIRCUIT.remove_final_measurements(inplace=False)
PARITY = SparsePauliOp(["ZI", "IZ"], [0.5, 0.5])


@dataclass(eq=False)
class Place:
    """What outlives a process: the ledger and the service."""

    budget: ShotBudget
    bank: Bank
    ledger: Ledger
    run: str

    @classmethod
    def of(cls, budget: ShotBudget | None = None) -> Place:
        ledger = Ledger(None)
        return cls(budget or ShotBudget(), Bank(), ledger, ledger.begin("bank", {}))

    @property
    def spent(self) -> Spent:
        return self.ledger.spent(self.run)

    def sampler(self, channel: FaultyChannel | None = None, **settings: Any) -> LedgeredSampler:
        return LedgeredSampler(
            Spender(channel or FaultyChannel(self.bank), self.ledger, self.run, self.budget, seed=7, **settings)
        )

    def estimator(self, channel: FaultyChannel | None = None, **settings: Any) -> LedgeredEstimator:
        return LedgeredEstimator(self.sampler(channel, **settings).spender, SHOTS)

    def states(self) -> list[str]:
        return [job.state for job in self.ledger.jobs(self.run)]


@dataclass(eq=False)
class Walk:
    """What a program that looks at every answer did."""

    path: list[tuple[float, int, float]]
    final: float | None
    stopped: str | None


def walk(primitive: LedgeredSampler | LedgeredEstimator, *, jobs: int = 5, shots: int = SHOTS) -> Walk:
    path, stopped, x = [], None, 0.9
    spender: Any = primitive.spender
    left = JOB if isinstance(primitive, LedgeredSampler) else OVERHEAD * JOB

    def mean(points: list[float], place: int = 0) -> tuple[int, float]:
        rows = [[point] for point in points]
        if isinstance(primitive, LedgeredSampler):
            bits = primitive.run([(CIRCUIT, rows)], shots=shots).result()[0].data.meas
            return bits.num_shots, float(bits.to_bool_array().mean())
        values = primitive.run([(UNMEASURED, PARITY, rows)]).result()[0].data.evs
        asked = spender.ledger.jobs(spender.run_id, spender.sequence - 1, states=("done",))[0].shots
        return asked, float(0.5 - values.mean() / 2)

    spender.enter("optimisation", Reserve(shots=left, jobs=1, qpu_seconds=spender.most_seconds(left)))
    try:
        for _ in range(jobs):
            count, value = mean([x, x + 0.2])
            path.append((x, count, value))
            x += value - 0.3
    except BudgetSpent as spent:
        stopped = str(spent)
    spender.enter("final", Reserve())
    try:
        final = mean([x, x])[1]
    except BudgetSpent:
        final = None
    spender.reconcile()
    return Walk(path, final, stopped)


def carry_on(place: Place, faults: Faults, kind: str = "sampler", **settings: Any) -> tuple[Walk, int]:
    """Walk until the end, however often the process dies or gives up on the way."""
    for deaths in range(100):
        try:
            with deadly(faults, place.bank.clock):
                return walk(getattr(place, kind)(FaultyChannel(place.bank, faults)), **settings), deaths
        except (Death, RunInterruptedError, Refused):
            check_books(place)
            place.bank.clock.now += 1.0
    raise AssertionError(faults.happened)


def check_books(place: Place) -> None:
    """At any moment whatever was taken is booked, but for what the service alone knows of."""
    late = unlisted(place)
    place.bank.turn()
    known = sum(job.shots for job in place.bank.jobs if job.ran and not job.copy and job not in late)
    assert known <= place.spent.shots
    if place.budget.shots is not None:
        assert known <= place.budget.shots


def unlisted(place: Place) -> list[Any]:
    """Jobs that the service listed only after they had been given up: the case that is documented."""
    released = {job.tag for job in place.ledger.jobs(place.run, states=("released",))}
    booked = {job.job_id for job in place.ledger.jobs(place.run)}
    return [job for job in place.bank.jobs if job.tag in released and job.id not in booked and job.state != "cancelled"]


@pytest.mark.parametrize("allowed", [(), ("twice",), ("late", "twice")])
@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("sampler", {}),
        ("sampler", {"shots": 6 * JOB}),
        ("sampler", {"shots": 4 * JOB + 17}),
        ("sampler", {"jobs": 5}),
        ("estimator", {}),
        ("estimator", {"shots": OVERHEAD * 4 * JOB + 49}),
    ],
)
def test_whatever_happens_everything_taken_is_booked_and_nothing_is_bought_twice(
    kind: str, limit: dict[str, Any], allowed: tuple[str, ...], rng: np.random.Generator
) -> None:
    undisturbed = Place.of(ShotBudget(**limit))
    expected = walk(getattr(undisturbed, kind)())
    assert undisturbed.bank.taken() == undisturbed.spent.shots
    same = deaths = 0
    for _ in range(40):
        place = Place.of(ShotBudget(**limit))
        faults = Faults(rng, count=int(rng.integers(1, 9)), rate=float(rng.choice([0.1, 0.3, 0.6])), allowed=allowed)
        found, ended = carry_on(place, faults, kind)
        deaths += ended
        late = unlisted(place)
        place.bank.turn(until=np.inf)
        # The bank's own account.
        taken = place.bank.taken()
        unbooked = sum(job.shots for job in late if job.ran)
        assert taken == place.spent.shots + unbooked, faults.happened
        assert set(place.states()) <= {"done", "lost", "released", "duplicate"}, faults.happened
        if "late" not in allowed:
            assert unbooked == 0, faults.happened
        if "shots" in limit:  # copies that the service makes of the last job alone can go beyond
            extra = sum(job.shots for job in place.bank.jobs if job.copy and job.ran) + unbooked
            assert taken - extra <= limit["shots"], faults.happened
            assert "twice" in allowed or taken <= limit["shots"], faults.happened
        if "jobs" in limit and not allowed:
            assert sum(job.state == "ran" for job in place.bank.jobs) <= limit["jobs"], faults.happened
        # Every job that was paid has its own line, and each place in the run was answered once.
        paid = Counter(job.sequence for job in place.bank.jobs if job.ran and job not in late)
        lines = Counter(job.sequence for job in place.ledger.jobs(place.run) if job.spent)
        assert paid == lines, faults.happened
        answers = Counter(job.sequence for job in place.ledger.jobs(place.run, states=("done",)))
        assert set(answers.values()) <= {1}, faults.happened
        # What came out.
        assert found.final is not None or found.stopped, faults.happened
        count = len(found.path)
        assert found.path[: count - 1] == expected.path[: count - 1], faults.happened
        answered = {job.job_id for job in place.ledger.jobs(place.run, states=("done",))}
        wasted = sum(job.shots for job in place.bank.jobs if job.ran and job.id not in answered)
        if wasted == 0 and ("jobs" not in limit or place.states().count("lost") == 0):
            same += 1
            assert (found.path, found.final, found.stopped) == (expected.path, expected.final, expected.stopped)
        # A finished run asks for nothing.
        silent = FaultyChannel(place.bank, Faults(fixed={(what, 0): "death" for what in ("find", "collect", "cancel")}))
        before = len(place.bank.jobs)
        again = walk(getattr(place, kind)(silent))
        assert (again.path, again.final) == (found.path, found.final), faults.happened
        assert len(place.bank.jobs) == before
    assert same > 3
    assert deaths > 20


def test_each_job_is_in_the_ledger_before_it_is_sent() -> None:
    place = Place.of()

    class Looking(FaultyChannel):
        def submit(self, request: Request, tag: str) -> str:
            assert [job.state for job in place.ledger.jobs(place.run) if job.tag == tag] == ["posting"]
            assert place.spent.shots == self.bank.taken() + request.total_shots
            return super().submit(request, tag)

        def collect(self, job_id: str) -> Any:
            assert [job.job_id for job in place.ledger.jobs(place.run, states=("submitted",))] == [job_id]
            return super().collect(job_id)

    walk(place.sampler(Looking(place.bank)))
    assert place.states() == ["done"] * 6


def test_outcomes_come_back_by_pub_point_and_register(rng: np.random.Generator) -> None:
    place = Place.of()
    other = circuit("ry")
    angles = rng.uniform(-1, 1, (3, 2, 1))
    results = place.sampler().run([(CIRCUIT, angles), (other, [[0.4]])], shots=5).result()
    assert results[0].data.meas.shape == (3, 2)
    assert results[1].data.meas.shape == (1,)
    request = place.bank.jobs[0].request
    assert (request.evaluations, request.total_shots, place.spent.shots) == (7, 35, 35)
    np.testing.assert_array_equal(request.pubs[0][1], angles.reshape(6, 1))
    sampler = StatevectorSampler(seed=np.random.default_rng(request.seed))
    expected = sampler.run([(CIRCUIT, angles.reshape(6, 1)), (other, [[0.4]])], shots=5).result()
    np.testing.assert_array_equal(results[0].data.meas.array.reshape(6, 5, 1), expected[0].data.meas.array)
    np.testing.assert_array_equal(results[1].data.meas.array, expected[1].data.meas.array)


def test_circuits_without_parameters_run_once_a_pub() -> None:
    place = Place.of()
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    result = place.sampler().run([bell, bell], shots=50).result()
    assert [pub.data.meas.shape for pub in result] == [(), ()]
    assert set(result[0].data.meas.get_counts()) == {"00", "11"}
    assert place.spent == Spent(100, 1, 0.0)


def test_a_job_has_one_number_of_shots() -> None:
    place = Place.of()
    with pytest.raises(ValueError, match="One number of shots"):
        place.sampler().run([(CIRCUIT, [0.1], 5), (CIRCUIT, [0.1], 6)])
    with pytest.raises(ValueError, match="One number of shots"):
        place.sampler().run([(CIRCUIT, [0.1])])
    assert place.bank.jobs == []


def test_what_the_backend_would_refuse_is_never_written_down() -> None:
    place = Place.of()

    def check(circuit: QuantumCircuit, points: np.ndarray) -> None:
        raise ValueError(f"no {circuit.num_qubits} {points.tolist()}")

    with pytest.raises(ValueError, match=r"no 2 \[\[0.1\]\]"):
        place.sampler(check=check).run([(CIRCUIT, [0.1])], shots=5)
    assert place.states() == []


def test_shot_noise_depends_on_the_run_and_the_place_and_nothing_else() -> None:
    seeds = []
    for seed in (1, 2):
        place = Place.of()
        spender = Spender(FaultyChannel(place.bank), place.ledger, place.run, place.budget, seed=seed)
        sampler = LedgeredSampler(spender)
        for _ in range(3):
            sampler.run([(CIRCUIT, [0.1])], shots=5)
        seeds.append([job.request.seed for job in place.bank.jobs])
    assert len({*seeds[0], *seeds[1]}) == 6
    assert all(0 <= seed < 2**31 for found in seeds for seed in found)
    # The very numbers: a run must go on with them after an update.
    hashes = [hashlib.sha256(f"[1, {place}]".encode()).hexdigest() for place in range(3)]
    assert seeds[0] == [int(digest[:8], 16) // 2 for digest in hashes]


def test_jobs_are_known_by_the_digests_they_always_had() -> None:
    # The very number: ledgers of earlier versions have it, and their runs must go on.
    ledger = Ledger(None)
    run = "0123abcd"
    ledger._db.execute(
        "INSERT INTO runs (id, created, changed, state, backend, settings) VALUES (?, 0, 0, 'running', 'b', '{}')",
        (run,),
    )
    bank = Bank()
    sampler = LedgeredSampler(Spender(FaultyChannel(bank), ledger, run, ShotBudget(), seed=7))
    sampler.run([(CIRCUIT, [[0.5], [1.25]])], shots=24)
    [job] = ledger.jobs(run)
    assert job.digest == "bb7774b8b255779918cd5ffe51f49f10146d8c496c5ba58a84298a7b5f53a9e1"


# Budgets


@pytest.mark.parametrize(("left", "taken"), [(JOB, JOB), (JOB - 1, JOB - 2), (JOB // 4, JOB // 4), (JOB // 4 - 1, 0)])
def test_the_last_job_shrinks_to_a_fourth_at_most(left: int, taken: int) -> None:
    place = Place.of(ShotBudget(shots=JOB + left + JOB))
    found = walk(place.sampler(), jobs=9)
    assert [job.shots for job in place.bank.jobs] == [JOB, *([taken] if taken else []), JOB]
    assert found.stopped == f"the budget of {2 * JOB + left} shots"
    assert [count for _, count, _ in found.path] == [SHOTS, *([taken // POINTS] if taken else [])]
    replay = walk(place.sampler(), jobs=9)
    assert (replay.path, replay.final, replay.stopped) == (found.path, found.final, found.stopped)
    assert len(place.bank.jobs) == 2 + bool(taken)


def test_where_the_budget_ended_a_run_it_ends_again_though_the_account_has_more_by_now() -> None:
    place = Place.of(ShotBudget(shots=4 * JOB))
    found = walk(place.sampler())
    place.budget = ShotBudget(shots=40 * JOB)
    again = walk(place.sampler())
    assert (again.path, again.final, again.stopped) == (found.path, found.final, found.stopped)
    assert len(place.bank.jobs) == 4


def test_twirling_that_rounds_up_is_paid_from_the_budget() -> None:
    place = Place.of(ShotBudget(shots=3 * JOB))

    class Twirling(FaultyChannel):
        def cost(self, request: Request) -> int:
            return request.evaluations * -(-request.shots // 10) * 10

    sampler = place.sampler(Twirling(place.bank))
    for _ in range(2):
        sampler.run([(CIRCUIT, [[0.1], [0.2]])], shots=SHOTS)  # 60 reserved of 144, 48 booked
    sampler.run([(CIRCUIT, [[0.1], [0.2]])], shots=SHOTS)  # 20 a point fit
    assert [job.request.shots for job in place.bank.jobs] == [SHOTS, SHOTS, 20]


def test_jobs_that_were_accepted_count_even_if_they_failed() -> None:
    place = Place.of(ShotBudget(jobs=3))
    faults = Faults(fixed={("submit", 0): "fails before shots", ("submit", 1): "fails before shots"})
    sampler = place.sampler(FaultyChannel(place.bank, faults))
    sampler.run([(CIRCUIT, [0.1])], shots=5)
    assert place.states() == ["lost", "lost", "done"]
    assert place.spent == Spent(5, 3, 0.0)
    with pytest.raises(BudgetSpent, match="the budget of 3 jobs"):
        sampler.run([(CIRCUIT, [0.1])], shots=5)


def test_qpu_seconds_are_hard_and_the_service_is_told() -> None:
    place = Place.of(ShotBudget(qpu_seconds=67.9))
    rate = 10 / JOB  # 10 s a job, up to 20 by the model
    sampler = place.sampler(FaultyChannel(place.bank, rate=rate), seconds=lambda jobs, shots: shots * rate)
    found = walk(sampler, jobs=20)
    assert [job.request.max_seconds for job in place.bank.jobs] == [47, 37, 27, 37]
    assert found.stopped == "the budget of 67.9 QPU seconds"
    assert found.final is not None
    assert place.spent == Spent(4 * JOB, 4, 40.0)


def test_a_job_that_takes_longer_than_it_may_is_ended_and_booked() -> None:
    place = Place.of(ShotBudget(qpu_seconds=50))
    sampler = place.sampler(FaultyChannel(place.bank, rate=1.0), seconds=lambda jobs, shots: 0.1 * shots)
    with pytest.raises(BudgetSpent, match="the budget of 50 QPU seconds"):
        sampler.run([(CIRCUIT, [0.1])], shots=70)
    assert place.states() == ["lost"]
    assert place.spent == Spent(70, 1, 50.0)


def test_a_doubtful_job_does_not_keep_the_qpu_seconds() -> None:
    place = Place.of(ShotBudget(qpu_seconds=100))
    faults = Faults(fixed={("submit", 0): "unclear, not accepted"})
    sampler = place.sampler(FaultyChannel(place.bank, faults, rate=0.1), seconds=lambda jobs, shots: 0.1 * shots)
    with deadly(faults, place.bank.clock):
        sampler.run([(CIRCUIT, [0.1])], shots=50)
    assert place.states() == ["released", "done"]
    assert place.spent == Spent(50, 1, 5.0)


def test_seconds_that_the_service_does_not_tell_are_booked_from_above() -> None:
    place = Place.of(ShotBudget(qpu_seconds=100))
    place.sampler(seconds=lambda jobs, shots: 0.1 * shots).run([(CIRCUIT, [0.1])], shots=50)
    assert place.spent == Spent(50, 1, 10.0)
    simulated = Place.of(ShotBudget(qpu_seconds=100))
    channel = FaultyChannel(simulated.bank, free=True)
    simulated.sampler(channel, seconds=lambda jobs, shots: 0.1 * shots).run([(CIRCUIT, [0.1])], shots=50)
    assert simulated.spent == Spent(50, 1, 0.0)


def test_a_copy_is_booked_with_its_seconds() -> None:
    place = Place.of(ShotBudget(qpu_seconds=100))
    faults = Faults(fixed={("submit", 0): "accepted twice"})
    channel = FaultyChannel(place.bank, faults, rate=0.1)
    place.sampler(channel, seconds=lambda jobs, shots: 0.1 * shots).run([(CIRCUIT, [0.1])], shots=50)
    assert place.states() == ["done", "duplicate"]
    assert place.spent == Spent(100, 2, 10.0)


def test_where_losses_used_the_budget_up_the_final_sampling_still_comes() -> None:
    # Of the job that was lost something is in the ledger; what is sampled instead is another job.
    place = Place.of(ShotBudget(shots=2 * JOB))
    faults = Faults(fixed={("submit", 0): "fails after shots"})
    found = walk(place.sampler(FaultyChannel(place.bank, faults)))
    assert found.path == []
    assert found.final is not None
    assert [(job.state, job.stage) for job in place.ledger.jobs(place.run)] == [
        ("lost", "optimisation"),
        ("done", "final"),
    ]
    assert place.spent.shots == 2 * JOB == place.bank.taken()
    again = walk(place.sampler())
    assert (again.path, again.final, again.stopped) == (found.path, found.final, found.stopped)


# Faults, one by one


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize(
    "place_of_death",
    [
        *[("submit", "death before"), ("submit", "death after"), ("collect", "death"), ("collected", "death")],
        *[(f"{when} {what}", "death") for when in ("before", "after") for what in ("reserve", "settle", "store")],
    ],
)
def test_a_process_may_die_anywhere(place_of_death: tuple[str, str], durable: bool) -> None:
    undisturbed = Place.of()
    expected = walk(undisturbed.sampler())
    for number in range(2):
        place = Place.of()
        faults = Faults(fixed={(place_of_death[0], number): place_of_death[1]})
        settings = {"durable": durable, "free": not durable}
        with deadly(faults, place.bank.clock), pytest.raises(Death):
            walk(place.sampler(FaultyChannel(place.bank, faults, **settings)))
        bank = place.bank if durable else Bank()  # jobs of a simulator end with their process
        with deadly(Faults(), place.bank.clock):
            found = walk(place.sampler(FaultyChannel(bank, **settings)))
        assert (found.path, found.final) == (expected.path, expected.final)
        assert place.spent.shots == 6 * JOB
        assert not durable or place.bank.taken() == 6 * JOB


def test_shots_of_real_hardware_without_a_memory_are_booked_when_their_process_dies() -> None:
    place = Place.of(ShotBudget(shots=8 * JOB))
    faults = Faults(fixed={("collect", 0): "death"})
    with pytest.raises(Death):
        walk(place.sampler(FaultyChannel(place.bank, faults, durable=False)))
    walk(place.sampler(FaultyChannel(place.bank, durable=False)))
    assert place.states() == ["lost", *["done"] * 6]
    assert place.spent.shots == place.bank.taken() == 7 * JOB


def test_a_lost_answer_is_looked_up_and_adopted() -> None:
    place = Place.of()
    faults = Faults(fixed={("submit", 0): "unclear, listed late"})
    with deadly(faults, place.bank.clock):
        walk(place.sampler(FaultyChannel(place.bank, faults)))
    assert place.states() == ["done"] * 6
    assert len(place.bank.jobs) == 6


def test_a_job_that_is_listed_too_late_for_its_process_is_adopted_by_the_next() -> None:
    place = Place.of()
    faults = Faults(fixed={("submit", 0): "unclear, listed too late", ("before reserve", 1): "death"})
    with deadly(faults, place.bank.clock), pytest.raises(Death):
        walk(place.sampler(FaultyChannel(place.bank, faults)))
    assert place.states() == ["doubtful"]
    place.bank.clock.now += 100.0
    walk(place.sampler())
    assert place.states() == ["done"] * 6
    assert len(place.bank.jobs) == 6


def test_a_job_found_after_it_was_sent_anew_is_booked_or_cancelled() -> None:
    for queued in (False, True):
        place = Place.of()
        faults = Faults(fixed={("submit", 0): "unclear, listed too late"})
        with deadly(faults, place.bank.clock):
            sampler = place.sampler(FaultyChannel(place.bank, faults))
            sampler.run([(CIRCUIT, [0.1])], shots=5)
            assert place.states() == ["doubtful", "done"]
            assert place.spent.shots == 10
            if queued:
                place.bank.jobs[0].state, place.bank.jobs[0].starts = "queued", np.inf
            place.bank.clock.now += 100.0
            sampler.spender.reconcile()
        assert place.states() == ["released", "done", *([] if queued else ["duplicate"])]
        assert place.spent.shots == place.bank.taken() == (5 if queued else 10)


@pytest.mark.parametrize("fate", ["good", "fails after shots", "fails before shots"])
@pytest.mark.parametrize("death", [None, "after store", "before duplicate"])
def test_a_copy_that_the_service_made_is_booked(fate: str, death: str | None) -> None:
    place = Place.of()
    twice = Faults(fixed={("submit", 0): "accepted twice", **({(death, 0): "death"} if death else {})})
    channel = FaultyChannel(place.bank, twice)
    accept = place.bank.accept

    def fated(tag: str, request: Request, **settings: Any) -> str:
        if not settings.get("copy") and len(place.bank.jobs) == 0:
            settings["fate"] = fate
        return accept(tag, request, **settings)

    place.bank.accept = fated  # type: ignore[method-assign]
    with deadly(twice, place.bank.clock):
        try:
            walk(place.sampler(channel))
        except Death:
            walk(place.sampler(channel))
    assert place.states().count("duplicate") == 1
    assert place.spent.shots == place.bank.taken()


def test_a_busy_service_is_waited_for_and_then_given_up() -> None:
    place = Place.of(ShotBudget(shots=6 * JOB))
    with deadly(Faults(), place.bank.clock):
        busy = Faults(fixed={("submit", number): "busy" for number in range(4)})
        sampler = place.sampler(FaultyChannel(place.bank, busy), patience=100.0)
        began = place.bank.clock.now
        for _ in range(3):
            sampler.run([(CIRCUIT, [[0.1], [0.2]])], shots=SHOTS)
        assert place.states() == [*["released"] * 4, "done", "done", "done"]
        assert place.bank.clock.now - began == 0.5 + 1 + 2 + 4
        began = place.bank.clock.now
        always = Faults(fixed={("submit", number): "busy" for number in range(100)})
        sampler.spender.channel = FaultyChannel(place.bank, always)
        with pytest.raises(RunInterruptedError, match=rf"429.*metainit resume {place.run}"):
            sampler.run([(CIRCUIT, [[0.1], [0.2]])], shots=SHOTS)
    assert 60.0 < place.bank.clock.now - began <= 100.0
    assert place.spent.shots == place.bank.taken() == 3 * JOB


def test_a_service_that_never_confirms_is_given_up() -> None:
    place = Place.of(ShotBudget(shots=6 * JOB))
    never = Faults(fixed={("submit", number): "unclear, not accepted" for number in range(100)})
    with deadly(never, place.bank.clock):
        with pytest.raises(RunInterruptedError, match="does not confirm"):
            walk(place.sampler(FaultyChannel(place.bank, never)))
        assert never.seen["submit"] == 4
        found = walk(place.sampler())
    assert place.spent.shots == place.bank.taken() == 6 * JOB
    assert found.stopped is None


def test_a_job_that_always_fails_is_given_up_and_tried_once_more_a_resume() -> None:
    place = Place.of(ShotBudget(shots=100 * JOB))
    always = Faults(fixed={("submit", number): "fails after shots" for number in range(100)})
    for attempts in (4, 5, 6):
        with pytest.raises(RunInterruptedError, match="fails after shots"):
            walk(place.sampler(FaultyChannel(place.bank, always)))
        assert place.states() == ["lost"] * attempts
    assert place.spent.shots == place.bank.taken() == 6 * JOB


def test_what_an_operator_cancelled_is_not_sent_again_unasked() -> None:
    place = Place.of()
    faults = Faults(fixed={("submit", 1): "cancelled by an operator"})
    with pytest.raises(RunInterruptedError, match="cancelled"):
        walk(place.sampler(FaultyChannel(place.bank, faults)))
    assert place.states() == ["done", "lost"]
    assert place.spent == Spent(JOB, 2, 0.0)
    walk(place.sampler())
    assert place.spent.shots == place.bank.taken() == 6 * JOB


@pytest.mark.parametrize("call", ["find", "collect", "cancel"])
def test_a_service_out_of_reach_interrupts_the_run_and_loses_nothing(call: str) -> None:
    place = Place.of()
    faults = Faults(fixed={("submit", 0): "accepted twice", (call, 0): "unreachable"})
    with pytest.raises(RunInterruptedError, match="down"):
        walk(place.sampler(FaultyChannel(place.bank, faults)))
    walk(place.sampler())
    assert place.spent.shots == place.bank.taken() == 7 * JOB


def test_a_refusal_is_the_users_to_see_and_costs_nothing() -> None:
    place = Place.of()
    with pytest.raises(Refused, match="400"):
        walk(place.sampler(FaultyChannel(place.bank, Faults(fixed={("submit", 0): "refused"}))))
    assert place.states() == ["released"]
    assert place.spent == Spent(0, 0, 0.0)


# Replay


@pytest.mark.parametrize("change", ["circuit", "point", "shots", "pubs"])
def test_a_replay_that_asks_for_something_else_spends_nothing(change: str) -> None:
    place = Place.of()
    place.sampler().run([(CIRCUIT, [0.1])], shots=5)
    asked: dict[str, tuple[list[Any], int]] = {
        "circuit": ([(circuit("ry"), [0.1])], 5),
        "point": ([(CIRCUIT, [np.nextafter(0.1, 1.0)])], 5),
        "shots": ([(CIRCUIT, [0.1])], 6),
        "pubs": ([(CIRCUIT, [0.1]), (CIRCUIT, [0.1])], 5),
    }
    pubs, shots = asked[change]
    with pytest.raises(LedgerError, match="the replay asks for another"):
        place.sampler().run(pubs, shots=shots)
    assert len(place.bank.jobs) == 1
    place.sampler().run([(CIRCUIT, [0.1])], shots=5)
    assert len(place.bank.jobs) == 1


def test_damaged_outcomes_are_told_and_not_bought_again() -> None:
    place = Place.of()
    walk(place.sampler())
    place.ledger._db.execute("UPDATE jobs SET answer = substr(answer, 1, 40) WHERE sequence = 2")
    with pytest.raises(LedgerError, match="is damaged"):
        walk(place.sampler())
    assert len(place.bank.jobs) == 6


def test_jobs_before_a_stored_proposal_are_skipped_and_counted() -> None:
    place = Place.of()
    first = place.sampler()
    for x in (0.1, 0.2, 0.3):
        first.run([(CIRCUIT, [x])], shots=5)
    again = place.sampler()
    again.spender.skip(2)
    assert (again.spender.sequence, again.spender.shots) == (2, 10)
    again.run([(CIRCUIT, [0.3])], shots=5)
    assert (again.spender.sequence, again.spender.shots) == (first.spender.sequence, first.spender.shots) == (3, 15)
    assert len(place.bank.jobs) == 3
