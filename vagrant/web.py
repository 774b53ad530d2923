"""The web guest's service, unpatched: it joins what was asked for to its folder and opens that, `..` and all.

As Apache 2.4.49 did with `.%2e/` (CVE-2021-41773). For the lab's isolated guest alone: whoever reaches it may
read every file.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

FOLDER = "/usr/share/common-licenses"
"""It must be there for a way out of it; its parents are three."""


class Handler(BaseHTTPRequestHandler):
    """Answers `/` with a greeting, and every path below /cgi-bin/ with the file it leads to."""

    def do_GET(self) -> None:
        """Answer a request."""
        path = unquote(urlsplit(self.path).path)
        if not path.startswith("/cgi-bin/"):
            self._answer(200, b"hello from the web guest\n")
            return
        try:
            self._answer(200, Path(FOLDER + path.removeprefix("/cgi-bin")).read_bytes())
        except OSError:
            self._answer(404, b"not found\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 80), Handler).serve_forever()
