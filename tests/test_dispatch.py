"""Jobs go to whoever has room, come back in order, and survive the workers that had them."""

import itertools

import pytest

from tff_experiments.runtime import client_round, dispatch


class Fakes:
    """Workers that do their jobs in order; `choose` picks who is next. A job may kill, or fail.

    A worker is a list of its jobs: a new object for each one that is replaced.
    """

    def __init__(self, num_workers, *, choose=lambda handles: handles[0], deaths=(), failing=()):
        self.num_workers, self._choose = num_workers, choose
        self._deaths, self._failing = list(deaths), failing
        self.room = [worker for worker in ([] for _ in range(num_workers)) for _ in range(2)]
        self.handles = itertools.count()
        self.jobs, self.most_running, self.replaced = {}, 0, 0
        self.done = []

    def take(self):
        return self.room.pop(0) if self.room else None

    def give_back(self, worker):
        self.room.append(worker)

    def submit(self, worker, job):
        handle = next(self.handles)
        worker.append(handle)
        self.jobs[handle] = worker, job
        return handle

    def wait(self, handles):
        handles = list(handles)
        self.most_running = max(self.most_running, len(handles))
        first = {}
        for handle in handles:
            first.setdefault(id(self.jobs[handle][0]), handle)
        return self._choose(list(first.values())) if first else None

    def result(self, handle):
        _, job = self.jobs[handle]
        if job in self._deaths:
            self._deaths.remove(job)
            raise dispatch.LostError("killed")
        if job in self._failing:
            raise client_round.ClientError(f"job {job} is bad")
        self.done.append(job)
        return job * 10

    def replace(self, worker):
        self.replaced += 1
        self.room = [other for other in self.room if other is not worker]
        new = []
        self.room += [new, new]


@pytest.mark.parametrize("choose", [lambda h: h[0], lambda h: h[-1], lambda h: h[len(h) // 2]])
@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_answers_come_in_order_whoever_is_first(choose, num_workers):
    workers = Fakes(num_workers, choose=choose)
    assert list(dispatch.in_order(workers, range(40))) == [10 * job for job in range(40)]
    assert workers.most_running == 2 * num_workers
    assert sorted(workers.done) == list(range(40)) and not workers.replaced


def test_no_job_is_none():
    assert list(dispatch.in_order(Fakes(2), [])) == []


@pytest.mark.parametrize("choose", [lambda h: h[0], lambda h: h[-1]])
def test_jobs_of_a_worker_that_died_are_done_again(choose):
    workers = Fakes(3, choose=choose, deaths=[0, 7, 7, 19])
    assert list(dispatch.in_order(workers, range(20))) == [10 * job for job in range(20)]
    assert workers.replaced == 4
    # Each answer is taken once, although some jobs were begun more than once.
    assert sorted(workers.done) == list(range(20)) and len(workers.jobs) > 20


def test_a_job_that_kills_its_workers_stops_the_round():
    workers = Fakes(2, deaths=[3] * dispatch.MAX_TRIES)
    with pytest.raises(client_round.ClientError, match=r"3 workers died with .*: killed"):
        list(dispatch.in_order(workers, range(10)))


def test_a_job_that_fails_stops_the_round_and_ends_who_still_works():
    workers = Fakes(2, failing=[1])
    answers = dispatch.in_order(workers, range(10))
    assert next(answers) == 0
    with pytest.raises(client_round.ClientError, match="job 1 is bad"):
        list(answers)
    assert workers.replaced == 2 and 1 not in workers.done


def test_leaving_in_the_middle_ends_who_still_works():
    workers = Fakes(2)
    answers = dispatch.in_order(workers, range(10))
    next(answers)
    answers.close()
    assert workers.replaced == 2


def test_answers_that_wait_for_their_turn_are_bounded():
    """The first job is slow: no more than so many are begun before it ends."""
    begun = []

    def jobs():
        for job in range(1000):
            begun.append(job)
            yield job

    slow = lambda handles: handles[-1]  # The first of all comes last.
    answers = dispatch.in_order(Fakes(2, choose=slow), jobs())
    next(answers)
    assert len(begun) == 2 * dispatch.AHEAD + 1
