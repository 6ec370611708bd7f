"""Which process does what: web, watchdog, cluster, sentinel, worker, monitor, pusher.

django-q2 gives its processes no names that others can see, but starts them in a fixed order: workers, monitor, pusher;
and what dies is replaced by its like. So the roles of a sentinel's children are told by the order of their births.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.machine import Machine, Process, Service

WORKER, MONITOR, PUSHER = "worker", "monitor", "pusher"
BIRTHS = (WORKER, MONITOR, PUSHER)


@dataclass(frozen=True, slots=True)
class Target:
    """A process that may be hit, by its role and the service it belongs to."""

    role: str
    service: str
    process: Process


class Roles:
    """Remembers who was what. `workers` is how many workers each sentinel keeps."""

    def __init__(self, machine: Machine, workers: int) -> None:
        self._machine, self._workers = machine, workers
        self._known: dict[int, dict[int, str]] = {}  # sentinel -> child -> role

    def targets(self) -> list[Target]:
        """Return everything that runs now and whose role is known."""
        processes = self._machine.processes()
        found: list[Target] = []
        for service in self._machine.services.values():
            if service.process is not None and service.process.pid in processes:
                found += self._of(service, processes, service.process.pid)
        return found

    def _of(self, service: Service, processes: Mapping[int, Process], top: int) -> list[Target]:
        if service.name.startswith("worker"):
            return self._of_worker(service.name, processes, top)
        role = service.name
        children = [one for one in _children(processes, top) if "spawn_main" in one.command]
        return [
            Target(role, service.name, processes[top]),
            *(Target(f"{role} process", service.name, one) for one in children),
        ]

    def _of_worker(self, name: str, processes: Mapping[int, Process], top: int) -> list[Target]:
        found = [Target("watchdog", name, processes[top])]
        for cluster in _children(processes, top):
            if "--cluster" not in cluster.command:
                continue
            found.append(Target("cluster", name, cluster))
            for sentinel in _children(processes, cluster.pid):
                found.append(Target("sentinel", name, sentinel))
                roles = self.name_children(sentinel.pid, _children(processes, sentinel.pid))
                found += [Target(roles[pid], name, processes[pid]) for pid in roles]
        return found

    def name_children(self, sentinel: int, children: list[Process]) -> dict[int, str]:
        """Name the children of a sentinel; none as long as it is still bearing its first ones."""
        before = self._known.get(sentinel)
        if before is None:
            if len(children) < self._workers + 2:
                return {}
            missing = [WORKER] * self._workers + [MONITOR, PUSHER]
            before = {}
        else:
            here = {one.pid for one in children}
            gone = Counter(role for pid, role in before.items() if pid not in here)
            missing = [role for role in BIRTHS for _ in range(gone[role])]
            before = {pid: role for pid, role in before.items() if pid in here}
        born = sorted((one for one in children if one.pid not in before), key=lambda one: (one.began, one.pid))
        named = before | {one.pid: role for one, role in zip(born, missing, strict=False)}
        if len(named) == self._workers + 2:
            self._known[sentinel] = named
        return named


def _children(processes: Mapping[int, Process], parent: int) -> list[Process]:
    return [one for one in processes.values() if one.parent == parent]
