"""A policy worker: handlers, and the connections to every frontend of a pool."""

from __future__ import annotations

import asyncio
import glob
import inspect
import logging
import os
import random
import signal
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Awaitable, Callable, Deque, Dict, List, Optional, Sequence, Set, TypeVar, Union, cast, overload

from .connection import Connection
from .check import InvalidVerdict
from .event import Event
from .tables import DECIDED, NEEDS, NOTIFIED
from .verdict import Verdict, declined

#: What a handler is: a function of an event, plain or async, that returns a verdict, or None for declined.
Handler = Callable[[Event], Union[Verdict, None, Awaitable[Optional[Verdict]]]]
HandlerT = TypeVar("HandlerT", bound=Handler)

#: Notifications that may wait for their handlers; further ones are dropped with a count.
LARGEST_BACKLOG = 1024
SHORTEST_BACKOFF = 0.05
LONGEST_BACKOFF = 2.0


@dataclass(frozen=True)
class _Registration:
    function: Handler
    plugin: str
    needs: Sequence[str]
    observe: bool
    idempotent: bool
    blocking: bool
    is_async: bool
    extensions: Sequence[str]


class HookDecorator:
    """`@worker.rcpt`, or `@worker.rcpt(needs=["recipients"])`."""

    def __init__(self, worker: "Worker", hook: str) -> None:
        self._worker = worker
        self._hook = hook

    @overload
    def __call__(self, function: HandlerT) -> HandlerT: ...

    @overload
    def __call__(
        self,
        *,
        needs: Sequence[str] = (),
        observe: bool = False,
        idempotent: bool = False,
        plugin: Optional[str] = None,
        blocking: bool = True,
        extensions: Sequence[str] = (),
    ) -> Callable[[HandlerT], HandlerT]: ...

    def __call__(self, function: Optional[HandlerT] = None, **options: Any) -> Any:
        if function is not None:
            return self._worker.hook(self._hook)(function)
        return self._worker.hook(self._hook, **options)


class Worker:
    """Serves the hooks that its decorators name, for every frontend that has the pool.

    `folder` holds the frontends' sockets; by default `<runtime_directory>/pools/<pool>`.
    """

    connect: HookDecorator
    helo: HookDecorator
    ehlo: HookDecorator
    auth: HookDecorator
    mail: HookDecorator
    rcpt: HookDecorator
    data: HookDecorator
    data_headers_end: HookDecorator
    received_line: HookDecorator
    data_post_headers: HookDecorator
    data_post: HookDecorator
    queue_pre: HookDecorator
    queue: HookDecorator
    vrfy: HookDecorator
    help: HookDecorator
    noop: HookDecorator
    unrecognized_command: HookDecorator
    quit: HookDecorator
    reset_transaction: HookDecorator
    queue_post: HookDecorator
    deny: HookDecorator
    ok: HookDecorator
    disconnect: HookDecorator
    status: HookDecorator

    def __init__(
        self,
        name: str,
        pool: str = "policy",
        *,
        runtime_directory: Optional[str] = None,
        folder: Optional[str] = None,
        concurrency: int = 16,
        max_frame: int = 1_048_576,
        version: Optional[str] = None,
        instance: Optional[str] = None,
        logger: Optional[logging.Logger] = None,
        look_every: float = 1.0,
        drain_timeout: float = 60.0,
    ) -> None:
        base: str = runtime_directory or os.environ.get("GATEPOST_RUNTIME_DIRECTORY") or "var/run"
        self.name = name
        self.pool = pool
        self.folder = folder or os.path.join(base, "pools", pool)
        self.concurrency = concurrency
        self.max_frame = max_frame
        self.logger = logger or logging.getLogger("gatepost")
        #: Seconds between two looks for new sockets.
        self.look_every = look_every
        #: The longest that `serve` waits, once stopped, for handlers and frontends.
        self.drain_timeout = drain_timeout
        #: Called with each `welcome`.
        self.on_welcome: Optional[Callable[[Dict[str, Any]], None]] = None
        #: Notifications that were dropped because handlers were too slow.
        self.dropped_notifications = 0
        self._about: Dict[str, Any] = {"name": name, "sdk": "gatepost-python/0.1.0", "pid": os.getpid()}
        self._about.update({key: text for key, text in (("version", version), ("instance", instance)) if text})
        self._registrations: Dict[str, List[_Registration]] = {}
        self._threads: Optional[ThreadPoolExecutor] = None
        self._notify_thread: Optional[ThreadPoolExecutor] = None
        self._backlog: Deque[Event] = deque()
        self._notifier: Optional["asyncio.Task[None]"] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._stop: Optional[asyncio.Event] = None
        self._links: Set["Link"] = set()
        self._dialling: Dict[str, "asyncio.Task[None]"] = {}
        for hook in (*DECIDED, *NOTIFIED):
            setattr(self, hook, HookDecorator(self, hook))

    # Handlers

    def hook(
        self,
        hook: str,
        *,
        needs: Sequence[str] = (),
        observe: bool = False,
        idempotent: bool = False,
        plugin: Optional[str] = None,
        blocking: bool = True,
        extensions: Sequence[str] = (),
    ) -> Callable[[HandlerT], HandlerT]:
        """Registers a handler. Several for one hook are asked in order, until one does not decline.

        A plain function runs in a thread, so it may block; `blocking=False` says that it never does, and saves the
        thread. An `async def` runs on the loop. `plugin` names it in logs; by default its own name does.

        `extensions`, at `queue` alone, are the SMTP extensions that the handler keeps for each message that it takes:
        with FUTURERELEASE it releases none before `transaction.hold_until_ms`, or does not take it. The worker says
        those that all its handlers of `queue` keep.
        """
        if hook not in DECIDED and hook not in NOTIFIED:
            raise ValueError(f"there is no hook {hook!r}")
        unknown = [need for need in needs if need not in NEEDS]
        if unknown:
            raise ValueError(f"there is no need {unknown[0]!r}; there are {', '.join(NEEDS)}")
        if extensions and (hook != "queue" or observe):
            raise ValueError("extensions are for a handler that is asked at 'queue'")
        others = self._registrations.get(hook, [])
        if any(other.observe != observe for other in others):
            raise ValueError(f"the hook {hook!r} is either observed or decided by one worker")

        def register(function: HandlerT) -> HandlerT:
            label = plugin or str(getattr(function, "__name__", hook))
            is_async = inspect.iscoroutinefunction(function)
            threaded = blocking and not is_async
            registration = _Registration(
                function, label[:128], tuple(needs), observe, idempotent, threaded, is_async, tuple(extensions)
            )
            self._registrations.setdefault(hook, []).append(registration)
            return function

        return register

    def hello(self) -> Dict[str, Any]:
        """What this worker says about itself."""
        hooks: Dict[str, Dict[str, Any]] = {}
        plugins: List[str] = []
        for hook, registrations in self._registrations.items():
            said: Dict[str, Any] = {}
            needs = [need for need in NEEDS if any(need in entry.needs for entry in registrations)]
            if needs:
                said["needs"] = needs
            if registrations[0].observe:
                said["observe"] = True
            if all(entry.idempotent for entry in registrations):
                said["idempotent"] = True
            hooks[hook] = said
            plugins += [entry.plugin for entry in registrations if entry.plugin not in plugins]
        kept = [entry.extensions for entry in self._registrations.get("queue", [])]
        extensions = [word for word in (kept[0] if kept else ()) if all(word in each for each in kept)]
        return {
            **({"extensions": extensions} if extensions else {}),
            "protocol": [1, 1],
            "pool": self.pool,
            "worker": self._about,
            "concurrency": self.concurrency,
            "max_frame": self.max_frame,
            "plugins": plugins,
            "violations": True,
            "hooks": hooks,
        }

    # Life

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then drains. A second signal ends at once."""
        if not logging.getLogger().handlers:
            logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        if self.on_welcome is None:
            self.on_welcome = self._say_ready
        asyncio.run(self._run())

    def _say_ready(self, welcome: Dict[str, Any]) -> None:
        self.on_welcome = None
        print(f"ready: worker {self.name}, pool {self.pool}, frontend {welcome['frontend']['id']}", flush=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        await self.serve()

    def _signalled(self, number: int) -> None:
        if self._stop is None or self._stop.is_set():
            os._exit(128 + number)
        self.stop()

    def stop(self) -> None:
        """Drains and ends `serve`. From any thread."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            loop.call_soon_threadsafe(stop.set)

    async def serve(self) -> None:
        """Dials every socket of the folder, looks for new ones every `look_every` seconds, until `stop`."""
        self._begin()
        stop = cast(asyncio.Event, self._stop)
        try:
            while not stop.is_set():
                for path in glob.glob(os.path.join(glob.escape(self.folder), "*.sock")):
                    if path not in self._dialling or self._dialling[path].done():
                        self._dialling[path] = asyncio.ensure_future(self._keep(path))
                await _wait(stop, self.look_every)
            self.logger.info("draining")
            for link in list(self._links):
                link.drain()
            await self._gone(self.drain_timeout)
        finally:
            tasks = list(self._dialling.values())
            self._dialling.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._end()

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._threads = ThreadPoolExecutor(max(1, self.concurrency), thread_name_prefix="gatepost")
        self._notify_thread = ThreadPoolExecutor(1, thread_name_prefix="gatepost-notify")

    def _end(self) -> None:
        for link in list(self._links):
            link.abort()
        if self._notifier is not None:
            self._notifier.cancel()
            self._notifier = None
        for threads in (self._threads, self._notify_thread):
            if threads is not None:
                threads.shutdown(wait=False)
        self._loop = self._stop = None

    async def _gone(self, timeout: float) -> None:
        """Waits until every connection is closed, and at most so long."""
        ends = [link.ended for link in self._links]
        if ends:
            await asyncio.wait(ends, timeout=timeout)

    async def _keep(self, path: str) -> None:
        """Keeps a connection to this socket for as long as there is such a file."""
        loop, stop = asyncio.get_running_loop(), cast(asyncio.Event, self._stop)
        backoff = SHORTEST_BACKOFF
        while not stop.is_set():
            at_least = 0.0
            try:
                _, link = await loop.create_unix_connection(lambda: Link(self), path)
            except OSError:
                if not os.path.exists(path):
                    return
            else:
                await asyncio.wait([link.ended])
                if link.core.welcome is not None:
                    backoff = SHORTEST_BACKOFF
                elif link.core.rejected is not None:
                    retry = link.core.rejected.get("retry_ms")
                    at_least = retry / 1000 if isinstance(retry, int) else 0.0
                if not stop.is_set():
                    self.logger.warning("%s: connection lost (%s); dialling again", path, link.core.close_reason)
            await _wait(stop, at_least + random.uniform(0, backoff))
            backoff = min(2 * backoff, LONGEST_BACKOFF)

    # Events

    async def _ask(self, event: Event) -> Verdict:
        """Asks the handlers in order; the answer of the first that does not decline."""
        verdict = declined()
        for entry in self._registrations[event.hook]:
            began = time.monotonic()
            verdict = self._heard(event, entry, await self._call(entry, event), began)
            if verdict.word != "declined":
                break
        return verdict

    def _ask_at_once(self, event: Event) -> Optional[Verdict]:
        """The same, if no handler of this hook blocks or is async; None if they have to be asked elsewhere."""
        entries = self._registrations[event.hook]
        if any(entry.blocking or entry.is_async for entry in entries):
            return None
        verdict = declined()
        for entry in entries:
            began = time.monotonic()
            verdict = self._heard(event, entry, entry.function(event), began)
            if verdict.word != "declined":
                break
        return verdict

    def _missing(self, event: Event) -> List[str]:
        """What handlers of `queue` need and did not get: they must not store a message without it."""
        if event.hook != "queue":
            return []
        needed = {need for entry in self._registrations[event.hook] for need in entry.needs}
        return [part for part in event.elided if part in needed]

    @staticmethod
    def _heard(event: Event, entry: _Registration, answer: Any, began: float) -> Verdict:
        verdict = declined() if answer is None else answer
        if not isinstance(verdict, Verdict):
            raise TypeError(f"a handler returns a verdict or None, not {type(verdict).__name__}")
        us = int((time.monotonic() - began) * 1_000_000)
        event.trace.append({"plugin": entry.plugin, "verdict": verdict.word, "us": us})
        if verdict.word == "declined":  # a later plugin decides; what this one changes goes with it
            event._take(verdict.actions)
            for scope, patch in verdict.notes.items():
                _merge(event._scope(scope), patch)
            verdict = declined()
        event._ends.append(len(event.actions) + (len(verdict.actions) if verdict.word != "declined" else 0))
        return verdict

    async def _call(self, entry: _Registration, event: Event) -> Any:
        if not entry.blocking:
            event._started = True
            result = entry.function(event)
            return await result if inspect.isawaitable(result) else result
        threads = self._notify_thread if event.id is None else self._threads
        if threads is None:
            raise RuntimeError("the worker is not running")
        event._thread = threads.submit(_in_thread, entry.function, event)
        try:
            return await asyncio.wrap_future(event._thread)
        finally:
            event._thread = None

    # Notifications: in order, one at a time, and never in the way of events

    def _notify(self, event: Event) -> None:
        if len(self._backlog) >= LARGEST_BACKLOG:
            self.dropped_notifications += 1
            return
        self._backlog.append(event)
        if self._notifier is None or self._notifier.done():
            self._notifier = asyncio.ensure_future(self._tell())

    async def _tell(self) -> None:
        while self._backlog:
            event = self._backlog.popleft()
            for entry in self._registrations.get(event.hook, ()):
                try:
                    await self._call(entry, event)
                except Exception:
                    self.logger.exception("%s: a handler of %s failed", entry.plugin, event.hook)


def _in_thread(function: Handler, event: Event) -> Any:
    event._started = True
    return function(event)


#: How long a frontend may take to welcome us (protocol/README.md §9, `timeout`).
WELCOME_SECONDS = 5.0


class Link(asyncio.Protocol):
    """A connection with its transport: runs what the core hands out, writes what it says."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.core = Connection(worker.hello())
        self.core.on_invalid = worker.logger.error
        self.loop = asyncio.get_running_loop()
        #: Done when the connection is closed.
        self.ended: "asyncio.Future[None]" = self.loop.create_future()
        self._transport: Optional[asyncio.Transport] = None
        self._flushing = False
        self._thread_id = threading.get_ident()
        self._tasks: Dict[Event, "asyncio.Task[None]"] = {}
        self._timers: Dict[Event, asyncio.TimerHandle] = {}
        self._patience: Optional[asyncio.TimerHandle] = None

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.worker._links.add(self)
        stop = self.worker._stop
        if stop is not None and stop.is_set():
            self.core.leave()
        self._patience = self.loop.call_later(WELCOME_SECONDS, self._not_welcomed)
        self._flush()

    def _not_welcomed(self) -> None:
        if self.core.welcome is None and not self.core.closed:
            self.core.leave("timeout")
            self._flush()

    def data_received(self, data: bytes) -> None:
        greeted = self.core.welcome is not None
        for event in self.core.receive(data):
            if event.id is None:
                self.worker._notify(event)
            else:
                self._start(event)
        if not greeted and self.core.welcome is not None:
            self._welcomed(self.core.welcome)
        self._cancel_tasks()
        self._flush()

    def pause_writing(self) -> None:
        """The frontend does not take our answers: nothing is read that would make more of them."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, error: Optional[Exception]) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self.core.lost()
        if self.core.close_reason is None:
            self.core.close_reason = str(error) if error else "end of file"
        self.worker._links.discard(self)
        self._cancel_tasks()
        if not self.ended.done():
            self.ended.set_result(None)

    # What the worker wants

    def drain(self) -> None:
        """Takes no further events, answers the events that it has, and leaves."""
        self.core.drain()
        self._flush()

    def abort(self) -> None:
        """Leaves at once."""
        self.core.leave()
        self._flush()
        if not self.ended.done():
            self.ended.set_result(None)

    # Running

    def _welcomed(self, welcome: Dict[str, Any]) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self.worker.logger.info("serving frontend %s", welcome["frontend"]["id"] if "frontend" in welcome else "?")
        if self.worker.on_welcome is not None:
            self.worker.on_welcome(welcome)

    def _start(self, event: Event) -> None:
        event._send = self._progress
        if event.cancelled:
            self.core.fail(event, "cancelled", False, event.cancel_reason or "")
            return
        missing = self.worker._missing(event)
        if missing:
            text = f"{' and '.join(missing)} did not fit into the event"
            self.worker.logger.error("queue %s: %s", event.key, text)
            self.core.fail(event, "incomplete_event", False, text)
            return
        try:
            verdict = self.worker._ask_at_once(event)
        except BaseException as error:  # SystemExit as well: a handler cannot end the worker
            self._failed(event, error)
            return
        if verdict is not None:
            self.core.answer(event, verdict)
            return
        task = self.loop.create_task(self._run(event))
        self._tasks[event] = task
        self._timers[event] = self.loop.call_later(event._plugin_seconds, self._look_at_time, event)
        task.add_done_callback(lambda _: self._finished(event))

    async def _run(self, event: Event) -> None:
        try:
            self.core.answer(event, await self.worker._ask(event))
        except asyncio.CancelledError:
            if event._overdue and event._started:
                text = f"{event.hook} took longer than {event.raw['deadline_ms'] + event._extended_ms} ms"
                self.core.fail(event, "deadline", True, text, self._at_work(event))
            else:
                self.core.fail(event, "cancelled", event._started, event.cancel_reason or "")
        except BaseException as error:
            self._failed(event, error)

    def _finished(self, event: Event) -> None:
        del self._tasks[event]
        self._timers.pop(event).cancel()
        self.core.fail(event, "cancelled", event._started)  # a task that never began; else it is answered
        self._flush_soon()

    def _look_at_time(self, event: Event) -> None:
        """Ends an event whose time is over, unless `progress` has moved that."""
        left = event._plugin_seconds
        if left > 0:
            self._timers[event] = self.loop.call_later(left, self._look_at_time, event)
        elif not event.cancelled:
            event._overdue = True
            event._cancel("deadline")
            self._cancel_tasks()

    def _cancel_tasks(self) -> None:
        """Ends async handlers whose event is cancelled; a thread is told by `event.cancelled`, or never begins."""
        for event, task in self._tasks.items():
            if event.cancelled and not event._stopped:
                event._stopped = True
                if event._thread is None:
                    task.cancel()
                else:
                    event._thread.cancel()

    def _failed(self, event: Event, error: BaseException) -> None:
        plugin = self._at_work(event)
        self.worker.logger.error("%s: failed at %s %s", plugin, event.hook, event.key, exc_info=error)
        if isinstance(error, InvalidVerdict):
            self.core.fail(event, "invalid_verdict", True, f"{plugin} at {event.hook}: {error}", plugin)
            return
        self.core.fail(event, "exception", True, str(error) or type(error).__name__, plugin)

    def _at_work(self, event: Event) -> str:
        """The plugin that has the event now."""
        entries = self.worker._registrations[event.hook]
        return entries[min(len(event.trace), len(entries) - 1)].plugin

    def _progress(self, message: Dict[str, Any]) -> None:
        if threading.get_ident() == self._thread_id:
            self._say_progress(message)
        else:
            self.loop.call_soon_threadsafe(self._say_progress, message)

    def _say_progress(self, message: Dict[str, Any]) -> None:
        self.core.progress(message)
        self._flush_soon()

    # Writing: one write for all that was said in a turn of the loop

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None or self._transport.is_closing():
            return
        octets = self.core.take()
        if octets:
            self._transport.write(octets)
        if self.core.closed:
            self._transport.close()


def _merge(target: Dict[str, Any], patch: Any) -> None:
    """RFC 7396, in place."""
    if not isinstance(patch, dict):
        raise TypeError("a notes patch is a dict")
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            inner = target.get(key)
            if not isinstance(inner, dict):
                inner = target[key] = {}
            _merge(inner, value)
        else:
            target[key] = value


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    """Waits for so many seconds, or until `stop`."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except asyncio.TimeoutError:
        pass
