"""nginx as the sink: answers at C speed, and writes down when each request came and how long its body was."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from bench.sink import Tally

_START_S = 10.0
_CONFIGURATION = """\
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    log_format tally '$msec $request_time $http_content_length';
    access_log {folder}/access tally;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000; keepalive_timeout 1h; client_max_body_size 0; client_body_timeout 1h;
    client_header_buffer_size 512k;
    default_type application/json;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{{"success": true}}'; }} }}
}}
"""


def program() -> str | None:
    """Where nginx is, if it is installed; distributions keep it off most people's path."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")


def version() -> str:
    """Its version."""
    path = program()
    if path is None:
        return ""
    told = subprocess.run([path, "-v"], capture_output=True, text=True, check=True).stderr
    return told.strip().rpartition("/")[2]


def parse(lines: Iterable[str]) -> Tally:
    """Add up an access log of lines `end (s, wall clock), duration (s), bytes of the body`."""
    tally = Tally()
    for line in lines:
        end, duration, size = line.split()
        tally.note(float(end) - float(duration), float(end), int(size) if size.isdigit() else 0)
    return tally


class NginxSink:
    """A running nginx with a configuration, a folder and a port of its own."""

    def __init__(self, folder: Path) -> None:
        path = program()
        if path is None:
            raise FileNotFoundError("nginx is not installed: apt install nginx-light")
        folder.mkdir()
        port = _free_port()
        (folder / "nginx.conf").write_text(_CONFIGURATION.format(folder=folder, port=port))
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "access"
        self._read = 0
        argv = [path, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        ends = time.monotonic() + _START_S
        while not _answers(port):
            if self._process.poll() is not None or time.monotonic() > ends:
                self.close()
                raise OSError(f"nginx did not start: {(folder / 'error.log').read_text('utf-8', 'replace')[-500:]}")
            time.sleep(0.01)

    def take(self) -> Tally:
        """What came since the last time."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return parse(whole.decode().splitlines())

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
