"""The streams of a process in a guest, as descriptors of ours.

Where the task's socket is on this node, the guest gets an end of a pipe
(SCM_RIGHTS). From elsewhere the bytes come as notifications with credit
(vmstep-api(7), STREAMS), and a thread of each stream carries them between the
connection and the same kind of pipe.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import Any, Dict, Optional

from .values import to_bytes
from .wire import END, Connection

PIECE = 16384
WINDOW = 256 * 1024


class OutputPump:
    """Stream NUMBER of CONNECTION goes to descriptor FD, which is taken."""

    def __init__(self, connection: Connection, number: int, fd: int) -> None:
        self._connection = connection
        self._number = number
        self._fd = fd
        self._queue: "queue.SimpleQueue[Optional[bytes]]" = queue.SimpleQueue()
        connection.listen("stream.data", self._on_data)
        connection.listen("stream.eof", self._on_eof)
        connection.listen(END, self._on_end)
        threading.Thread(target=self._run, daemon=True).start()

    def _on_data(self, params: Dict[str, Any]) -> None:
        if params.get("stream") != self._number:
            return
        self._queue.put(to_bytes(params.get("data")))

    def _on_eof(self, params: Dict[str, Any]) -> None:
        if params.get("stream") == self._number:
            self._queue.put(None)

    def _on_end(self, _params: Dict[str, Any]) -> None:
        self._queue.put(None)

    def _run(self) -> None:
        heard = True
        while True:
            data = self._queue.get()
            if data is None:
                break
            size = len(data)
            try:
                while data and heard:
                    data = data[os.write(self._fd, data) :]
            except OSError:
                heard = False  # nobody reads; the process is not to hang
            self._connection.notify(
                "stream.credit", {"stream": self._number, "bytes": size}
            )
        self._connection.unlisten("stream.data", self._on_data)
        self._connection.unlisten("stream.eof", self._on_eof)
        self._connection.unlisten(END, self._on_end)
        os.close(self._fd)


class InputPump:
    """What comes from descriptor FD, which is taken, goes to the stream."""

    def __init__(self, connection: Connection, number: int, fd: int) -> None:
        self._connection = connection
        self._number = number
        self._fd = fd
        self._credit = 0
        self._over = False
        self._change = threading.Condition()
        connection.listen("stream.credit", self._on_credit)
        connection.listen("stream.eof", self._on_eof)
        connection.listen(END, self._on_end)
        threading.Thread(target=self._run, daemon=True).start()

    def _on_credit(self, params: Dict[str, Any]) -> None:
        if params.get("stream") == self._number:
            with self._change:
                self._credit += int(params.get("bytes", 0))
                self._change.notify()

    def _on_eof(self, params: Dict[str, Any]) -> None:
        if params.get("stream") == self._number:
            self._on_end(params)

    def _on_end(self, _params: Dict[str, Any]) -> None:
        with self._change:
            self._over = True
            self._change.notify()

    def _may_send(self) -> int:
        with self._change:
            while not self._credit and not self._over:
                self._change.wait()
            return 0 if self._over else min(self._credit, PIECE)

    def _run(self) -> None:
        while True:
            most = self._may_send()
            try:
                data = os.read(self._fd, most) if most else b""
            except OSError:
                data = b""
            if not data:
                break
            with self._change:
                self._credit -= len(data)
            self._connection.notify(
                "stream.data", {"stream": self._number, "data": data}
            )
        self._connection.unlisten("stream.credit", self._on_credit)
        self._connection.unlisten("stream.eof", self._on_eof)
        self._connection.unlisten(END, self._on_end)
        self._connection.notify("stream.eof", {"stream": self._number})
        os.close(self._fd)  # who writes on gets EPIPE
