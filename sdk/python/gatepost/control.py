"""Control files, as `rcpthosts` or `badmailfrom`, read live by the rules of gatepost-worker."""

from __future__ import annotations

import logging
import os
import threading
from typing import List, Optional, Sequence, Tuple, Union

#: How deep `$include` goes.
DEEPEST = 16

_Stamp = Optional[Tuple[int, int, int, int, int]]


class ControlFileError(ValueError):
    """A control file that cannot be read: which line of which file, and why."""


def _stamp(path: str) -> _Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class ControlFile:
    """The lines of a control file, read again when it changes. Safe for threads.

    The first of `directories` that has the file counts. Empty lines and lines that begin with `#` are left out, white
    space around a line too. `$include NAME` is the lines of another file. A file that cannot be read any more keeps
    its last good lines, and the log says so once. Files of the format CDB are not read.
    """

    def __init__(self, name: str, directories: Union[str, Sequence[str]] = "config") -> None:
        self.name = name
        self.directories = [directories] if isinstance(directories, str) else list(directories)
        self._lock = threading.Lock()
        self._stamps: Optional[List[Tuple[str, _Stamp]]] = None
        self._lines: Optional[List[str]] = None
        self._said: Optional[str] = None

    def lines(self) -> List[str]:
        """The lines as they are now; none if there is no such file."""
        with self._lock:
            self._refresh()
            return list(self._lines or ())

    def words(self) -> List[str]:
        """The first word of each line."""
        return [line.split()[0] for line in self.lines()]

    @property
    def exists(self) -> bool:
        """Whether there is such a file."""
        with self._lock:
            self._refresh()
            return self._lines is not None

    def _refresh(self) -> None:
        if self._stamps is not None and all(_stamp(path) == stamp for path, stamp in self._stamps):
            return
        stamps: List[Tuple[str, _Stamp]] = []
        try:
            path = self._find(self.name, stamps)
            self._lines = None if path is None else self._read(path, stamps, [])
            self._said = None
        except (OSError, ControlFileError) as error:
            if str(error) != self._said:
                self._said = str(error)
                logging.getLogger("gatepost").error("%s: %s; its last good lines count", self.name, error)
        self._stamps = stamps

    def _find(self, name: str, stamps: List[Tuple[str, _Stamp]]) -> Optional[str]:
        for path in [name] if name.startswith("/") else [os.path.join(each, name) for each in self.directories]:
            stamps.append((path, _stamp(path)))
            if stamps[-1][1] is not None:
                return path
        return None

    def _read(self, path: str, stamps: List[Tuple[str, _Stamp]], opened: List[str]) -> List[str]:
        real = os.path.realpath(path)
        if real in opened or len(opened) >= DEEPEST:
            raise ControlFileError(f"{path} includes itself, or includes nest too deeply")
        with open(path, "rb") as file:
            octets = file.read()
        found: List[str] = []
        for number, raw in enumerate(octets.split(b"\n"), 1):
            if number == 1 and raw.startswith(b"\xef\xbb\xbf"):
                raw = raw[3:]
            raw = raw.strip(b" \t\n\v\f\r")
            if not raw or raw.startswith(b"#"):
                continue
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError:
                raise ControlFileError(f"{path}:{number}: this line is not UTF-8") from None
            words = text.replace("\t", " ").split(" ", 1)
            if words[0] != "$include":
                found.append(text)
                continue
            name = words[1].strip() if len(words) == 2 else ""
            target = None if not name or ".." in name.split("/") else self._find(name, stamps)
            if target is None:
                raise ControlFileError(f"{path}:{number}: $include {name}: there is no such file, or it has .. in it")
            found += self._read(target, stamps, [*opened, real])
        return found
