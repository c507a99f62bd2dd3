"""A server on the loopback address that behaves as badly as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """What is served, and how.

    Args:
        content: Of every address.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.version: str | None = '"one"'
        self.break_after: list[int] = []  # bytes that each of the next answers sends before it hangs up
        self.statuses: list[int] = []  # of the next answers, instead of the file
        self.ranges = True
        self.say_length = True
        self.lie_about_start = 0
        self.asked: list[dict[str, str]] = []
        self.url = ""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve a site until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(dict(self.headers))
            if site.statuses:
                self.send_error(site.statuses.pop(0))
                return
            start = self._start()
            if start > len(site.content):
                self.send_error(416)
                return
            body = site.content[start:]
            self.send_response(206 if start else 200)
            if site.say_length:
                self.send_header("Content-Length", str(len(body)))
            if start:
                first = start + site.lie_about_start
                self.send_header(
                    "Content-Range", f"bytes {first}-{len(site.content) - 1}/{len(site.content)}"
                )
            if site.version:
                self.send_header("ETag", site.version)
            self.end_headers()
            if site.break_after:
                self.wfile.write(body[: site.break_after.pop(0)])
                self.close_connection = True
                return
            self.wfile.write(body)

        def _start(self) -> int:
            wanted = self.headers.get("Range")
            same = self.headers.get("If-Range") in (None, site.version)
            return int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and site.ranges and same else 0

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}/set.tar"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
