# SPDX-License-Identifier: Apache-2.0
"""A unix socket that stands between proxy and mapperd and can hold answers back.

What belongs to SUBSCRIBE (its confirmation, messages and ticks) passes at once: the proxy knows
that mapperd lives. Answers wait `hold_s` from when they came, in their order.
"""
import asyncio
import collections
import os
import threading

from . import machine

PUSHES = b"*3\r\n$7\r\nmessage\r\n", b"*3\r\n$9\r\nsubscribe\r\n"


def frame_end(data, at):
    """Where the RESP2 value that begins at `at` ends; None while it is not all there."""
    line_end = data.find(b"\r\n", at)
    if line_end < 0:
        return None
    kind, number = data[at : at + 1], data[at + 1 : line_end]
    end = line_end + 2
    if kind == b"$":
        end += int(number) + 2 if int(number) >= 0 else 0
        return end if end <= len(data) else None
    if kind == b"*":
        for _ in range(max(int(number), 0)):
            end = frame_end(data, end)
            if end is None:
                return None
    return end


class Relay:
    """Runs in a thread of its own, on the generator's processor. upstream() is asked for mapperd's
    socket at each connection."""

    def __init__(self, path, upstream):
        self.path, self.upstream = path, upstream
        self.hold_s = 0.0
        self.held = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.ready = threading.Event()
        self.thread.start()
        self.ready.wait()

    def _run(self):
        os.sched_setaffinity(threading.get_native_id(), {machine.GENERATOR})
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(asyncio.start_unix_server(self._accept, self.path))
        os.chmod(self.path, 0o666)
        self.ready.set()
        self.loop.run_forever()

    async def _accept(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self.upstream())
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            self._pass(reader, up_writer), self._answers(up_reader, writer), return_exceptions=True
        )

    async def _pass(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def _answers(self, reader, writer):
        queue = collections.deque()
        more = asyncio.Event()
        sender = self.loop.create_task(self._send_held(queue, more, writer))
        data = b""
        while part := await reader.read(65536):
            data += part
            at, end = 0, frame_end(data, 0)
            while end is not None:
                frame = data[at:end]
                if frame.startswith(PUSHES):
                    writer.write(frame)
                else:
                    queue.append((self.loop.time() + self.hold_s, frame))
                    self.held += 1
                    more.set()
                at, end = end, frame_end(data, end) if end < len(data) else None
            data = data[at:]
        sender.cancel()
        writer.close()

    async def _send_held(self, queue, more, writer):
        while True:
            while not queue:
                more.clear()
                await more.wait()
            due, _ = queue[0]
            wait = due - self.loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            now = self.loop.time()
            frames = []
            while queue and queue[0][0] <= now:
                frames.append(queue.popleft()[1])
            self.held -= len(frames)
            writer.write(b"".join(frames))

    async def _end(self):
        tasks = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.loop.stop()

    def stop(self):
        asyncio.run_coroutine_threadsafe(self._end(), self.loop)
        self.thread.join(timeout=5)
