"""The event loop behind ``ssa run``: one epoll, five kinds of sources.

* the listener: a system call wants to be looked at;
* a channel: the daemon has answered about one secure socket, or hung up;
* the queue of a listener of the application: a peer waits, and so does a call that accepts;
* a pidfd: a process of the application has ended;
* the children: one of ours has ended and must be waited for.

Which socket a call means is decided by the inode behind the descriptor, not by its number: dup, fork, close and reuse
make numbers lie.  The kernel does not tell when an application closes a socket that was never connected, so entries
that no living process has open are swept: when a process ends, when many are open, and every few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

from .calls import Calls
from .children import Children
from .entry import Entry
from .filter import Architecture
from .listening import Listening
from .notify import Listener, Notification
from .processes import Process, thread_group
from .upgrade import Upgrades

_log = logging.getLogger("ssa")
_SWEEP_INTERVAL_S = 5.0
_SWEEP_AFTER_EXIT_S = 0.05
_SWEEP_AGAIN_S = 0.1
_SWEEP_AT_COUNT = 64
_RETRY_S = 2 * _SWEEP_AGAIN_S


class Supervisor:
    """Serves one application's process tree until its last process is gone."""

    def __init__(self, listener: Listener, daemon: Path, arch: Architecture, children: Children) -> None:
        self._listener = listener
        self._children = children
        self._arch = arch
        self._calls = Calls(listener, daemon, self._adopt, self._again)
        self._listening = Listening(listener, self._take_up, self._watch, self._unwatch, self._later)
        self._upgrades = Upgrades(listener, self._calls, self._dial, self._adopt, self._forget)
        self._epoll = select.epoll()
        self._processes: dict[int, Process] = {}
        self._entries: dict[int, Entry] = {}  # by inode
        self._by_channel: dict[int, Entry] = {}
        self._by_pidfd: dict[int, Process] = {}
        self._by_queue: dict[int, Entry] = {}
        self._deferred: list[tuple[float, Callable[[], None]]] = []
        self._sweep_at_s: float | None = None
        self._sweep_at_count = _SWEEP_AT_COUNT
        self._suspects: set[int] = set()
        self._handlers: dict[int, Callable[[Notification, Process, Entry], None]] = {
            arch.setsockopt: self._calls.set_option,
            arch.getsockopt: self._calls.get_option,
            arch.connect: self._calls.connect,
            arch.bind: self._calls.bind,
            arch.listen: self._listening.listen,
            arch.accept: lambda call, process, entry: self._listening.accept(call, process, entry, 0),
            arch.accept4: lambda call, process, entry: self._listening.accept(
                call, process, entry, call.arguments[3] & 0xFFFFFFFF
            ),
            arch.getsockname: lambda call, process, entry: self._calls.get_name(call, process, entry, peer=False),
            arch.getpeername: lambda call, process, entry: self._calls.get_name(call, process, entry, peer=True),
        }
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        self._epoll.register(children.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Serve until nobody is under the filter any more."""
        while True:
            for descriptor, events in self._epoll.poll(self._until_sweep()):
                if descriptor == self._listener.fileno():
                    if events & select.EPOLLIN:
                        self._take_call()
                    elif events & select.EPOLLHUP:
                        self._close()
                        return
                elif descriptor == self._children.fileno():
                    self._children.bury()
                elif (process := self._by_pidfd.get(descriptor)) is not None:
                    self._ended(process)
                elif (entry := self._by_channel.get(descriptor) or self._by_queue.get(descriptor)) is not None:
                    self._attend(descriptor, entry)
            if self._deferred:
                self._act()
            if self._sweep_at_s is not None and time.monotonic() >= self._sweep_at_s:
                self._sweep()

    def _attend(self, descriptor: int, entry: Entry) -> None:
        """Hear what there is about one secure socket; what goes wrong with it is its own end, and nobody else's."""
        try:
            if descriptor in self._by_channel:
                self._take_replies(descriptor, entry)
            else:
                self._listening.peers_are_there(entry)
        except Exception:
            _log.exception("a defect ended one secure socket; the others go on")
            self._entries.pop(entry.inode, None)
            self._forget(entry)

    # -- calls

    def _take_call(self) -> None:
        if (call := self._listener.receive()) is None:
            return
        try:
            process = self._process_of(call.thread)
            if call.number == self._arch.socket:
                self._open(call, process)
            else:
                self._dispatch(call, process)
        except OSError as error:
            self._listener.answer(call.id, error=error.errno or errno.EIO)
        except Exception:  # without us every socket call of the application fails: the others go on
            _log.exception("a defect ended one system call of process %d", call.thread)
            self._listener.answer(call.id, error=errno.EIO)

    def _open(self, call: Notification, process: Process) -> None:
        if len(self._entries) >= self._sweep_at_count:
            self._sweep()
        self._read_channel(self._calls.socket(call, process))

    def _dial(self) -> Entry:
        entry = self._calls.dial()
        self._read_channel(entry)
        self._plan_sweep(_SWEEP_INTERVAL_S)
        return entry

    def _read_channel(self, entry: Entry) -> None:
        if entry.channel is not None:
            self._by_channel[entry.channel.fileno()] = entry
            self._epoll.register(entry.channel, select.EPOLLIN)

    def _take_up(self, entry: Entry) -> None:
        """An accepted socket is the application's now."""
        if len(self._entries) >= self._sweep_at_count:
            self._sweep()
        self._read_channel(entry)
        self._adopt(entry)

    def _watch(self, entry: Entry) -> None:
        if entry.queue is not None and entry.queue.fileno() not in self._by_queue:
            self._by_queue[entry.queue.fileno()] = entry
            self._epoll.register(entry.queue.fileno(), select.EPOLLIN)

    def _unwatch(self, entry: Entry) -> None:
        if entry.queue is not None and self._by_queue.pop(entry.queue.fileno(), None) is not None:
            self._epoll.unregister(entry.queue.fileno())

    def _adopt(self, entry: Entry) -> None:
        self._entries[entry.inode] = entry
        self._plan_sweep(_SWEEP_INTERVAL_S)

    def _dispatch(self, call: Notification, process: Process) -> None:
        inode = process.socket_inode(call.arguments[0] & 0xFFFFFFFF)
        entry = None if inode is None else self._entries.get(inode)
        if not self._listener.is_waiting(call.id):
            return
        if entry is None:
            if not self._is_of_upgrade(call, process, inode):
                self._listener.let_pass(call.id)
        else:
            self._handlers[call.number](call, process, entry)

    def _is_of_upgrade(self, call: Notification, process: Process, inode: int | None) -> bool:
        """Serve what concerns a TCP socket that is to be upgraded; False for all else."""
        level, name = call.arguments[1] & 0xFFFFFFFF, call.arguments[2] & 0xFFFFFFFF
        if inode is None or not self._upgrades.is_meant(level, name):
            return False
        if call.number == self._arch.setsockopt:
            self._upgrades.set_option(call, process, inode)
            return True
        return call.number == self._arch.getsockopt and self._upgrades.get_option(call, process, inode)

    def _take_replies(self, descriptor: int, entry: Entry) -> None:
        if not entry.take_replies():
            del self._by_channel[descriptor]  # closing has removed it from the epoll set
            self._plan_sweep(_SWEEP_AFTER_EXIT_S)
            if entry.is_abandoned():
                self._reset(entry)
            self._listening.daemon_is_gone(entry, self._copy_of(entry) if entry.listens else None)
            entry.let_go()
        elif entry.reset_wanted:
            self._reset(entry)

    def _reset(self, entry: Entry) -> None:
        """Write one byte on the application's behalf, for the daemon to leave unread (see control.messages.Reset)."""
        if (application := self._copy_of(entry)) is not None:
            with application, contextlib.suppress(OSError):  # full, or shut down: nothing can be added
                application.send(bytes(1), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        entry.reset_done()

    def _copy_of(self, entry: Entry) -> socket.socket | None:
        """Get a copy of the application's socket; None when no process has it any more."""
        found = (process.find_socket(entry.inode) for process in self._all_processes())
        return next((application for application in found if application is not None), None)

    # -- processes

    def _process_of(self, thread: int) -> Process:
        known = self._processes.get(thread)
        if known is not None and known.is_alive():
            return known
        pid = thread_group(thread)
        known = self._processes.get(pid)
        if known is not None and known.is_alive():
            return known
        if known is not None:
            self._ended(known)
        process = self._processes[pid] = Process(pid, self._arch)
        self._by_pidfd[process.pidfd] = process
        self._epoll.register(process.pidfd, select.EPOLLIN)
        return process

    def _ended(self, process: Process) -> None:
        self._epoll.unregister(process.pidfd)
        del self._by_pidfd[process.pidfd]
        self._processes.pop(process.pid, None)
        process.close()
        self._plan_sweep(_SWEEP_AFTER_EXIT_S)

    # -- sweeping

    def _plan_sweep(self, delay_s: float) -> None:
        due = time.monotonic() + delay_s
        if (self._entries or self._upgrades) and (self._sweep_at_s is None or due < self._sweep_at_s):
            self._sweep_at_s = due

    def _until_sweep(self) -> float:
        due_s = [due_s for due_s, _ in self._deferred]
        if self._sweep_at_s is not None:
            due_s.append(self._sweep_at_s)
        return max(0.0, min(due_s) - time.monotonic()) if due_s else -1

    def _again(self, retry: Callable[[], None]) -> bool:
        """Sweep, and try again when the daemon has heard of what was swept; False when nothing is to be swept."""
        self._sweep()
        if not self._suspects:
            return False
        self._later(_RETRY_S, retry)
        return True

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        self._deferred.append((time.monotonic() + delay_s, act))

    def _act(self) -> None:
        """Do what was put off until now."""
        now_s = time.monotonic()
        due = [act for due_s, act in self._deferred if due_s <= now_s]
        self._deferred = [kept for kept in self._deferred if kept[0] > now_s]
        for act in due:
            act()

    def _sweep(self) -> None:
        """Forget the sockets that no process of the application has open, twice in a row.

        Once is not enough: a process may have passed a socket on to one that was not there when we listed them.
        """
        open_inodes = set().union(*(process.socket_inodes() for process in self._all_processes()))
        missing = self._entries.keys() - open_inodes
        for inode in missing & self._suspects:
            self._forget(self._entries.pop(inode))
        self._suspects = missing - self._suspects
        self._upgrades.forget_but(open_inodes)
        self._sweep_at_count = max(_SWEEP_AT_COUNT, 2 * len(self._entries))
        self._sweep_at_s = None
        self._plan_sweep(_SWEEP_AGAIN_S if self._suspects else _SWEEP_INTERVAL_S)

    def _all_processes(self) -> list[Process]:
        """The processes that have made a call, and those that may have inherited a socket without making one."""
        for child in _descendants(os.getpid()):
            with contextlib.suppress(OSError):
                self._process_of(child)
        return list(self._processes.values())

    def _forget(self, entry: Entry) -> None:
        if entry.channel is not None:
            self._by_channel.pop(entry.channel.fileno(), None)
        self._unwatch(entry)
        entry.hang_up()
        entry.let_go()

    def _close(self) -> None:
        for entry in self._entries.values():
            entry.hang_up()
            entry.let_go()
        for process in self._processes.values():
            process.close()
        self._epoll.close()


def _descendants(pid: int) -> list[int]:
    """Return all living descendants of a process (/proc/PID/task/TID/children)."""
    found: list[int] = []
    queue = [pid]
    while queue:
        parent = queue.pop()
        with contextlib.suppress(OSError):  # it may end at any moment, between one look and the next
            for thread in os.listdir(f"/proc/{parent}/task"):  # noqa: PTH208
                queue.extend(_children(parent, thread))
        if parent != pid:
            found.append(parent)
    return found


def _children(pid: int, thread: str) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{thread}/children").read_text("ascii").split()]
    except OSError:
        return []
