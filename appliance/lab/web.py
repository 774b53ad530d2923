"""Process 1 of the lab's web guest: starts nginx and the recorder, both without any right.

Started by `services.start` as `python -m appliance.lab.web`, already in the guest's network
namespace and in mount and pid namespaces of its own: when this process ends, all of the guest ends.
"""

import argparse
import asyncio
import ctypes
import os
import subprocess
from pathlib import Path

from appliance.lab.recorder import Records, listen
from appliance.lab.settings import HTTP_PORT, RAW_PORT

NOBODY = 65534
NGINX_PORT = 8081
"""Where nginx finds the recorder, on the guest's loopback."""
HOME = Path("/run/web")
"""On a tmpfs of the guest's own, which also hides the host's sockets under /run."""
PR_SET_NO_NEW_PRIVS = 38

NGINX_CONFIG = f"""\
daemon off;
pid {HOME}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 300s;
    keepalive_requests 1000000;
    client_max_body_size 8m;
    ignore_invalid_headers off;
    underscores_in_headers on;
    merge_slashes off;
    client_body_temp_path {HOME}/body;
    proxy_temp_path {HOME}/proxy;
    fastcgi_temp_path {HOME}/fastcgi;
    uwsgi_temp_path {HOME}/uwsgi;
    scgi_temp_path {HOME}/scgi;
    upstream recorder {{ server 127.0.0.1:{NGINX_PORT}; keepalive 16; }}
    server {{
        listen {HTTP_PORT};
        listen [::]:{HTTP_PORT};
        location /static/ {{ root {HOME}/htdocs; }}
        location /download/ {{ root {HOME}/htdocs; }}
        location / {{
            # without a path of its own proxy_pass hands the URI on as it came, encoding and all
            proxy_pass http://recorder;
            proxy_http_version 1.1;
            proxy_next_upstream off;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Real-Port $remote_port;
        }}
    }}
}}
"""


def main() -> None:
    """Set the guest up and stay until one of its services ends."""
    parser = argparse.ArgumentParser(description="the lab's web guest")
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--download-mib", type=int, required=True)
    arguments = parser.parse_args()
    # opened before the file system around us changes; the recorder may append, and nothing else
    records = Records(os.open(arguments.records, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644))
    options = "mode=0755,nosuid,nodev,noexec"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", "/run"], check=True)
    # lets nginx bind port 80 without a right to; counts in this network namespace only
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    _write_site(arguments.download_mib)
    children = {_start_recorder(records), _start_nginx()}
    while True:
        pid, _ = os.wait()
        if pid in children:
            raise SystemExit(f"service {pid} ended")


def _write_site(download_mib: int) -> None:
    """Write nginx's configuration and files; the large download is a hole and takes no memory."""
    (HOME / "htdocs/static").mkdir(parents=True)
    (HOME / "htdocs/download").mkdir()
    (HOME / "htdocs/static/index.html").write_text("<!doctype html><title>lab</title><p>It works.\n")
    pattern = b"".join(b"%015d\n" % number for number in range(65536))
    (HOME / "htdocs/download/4m.bin").write_bytes(4 * pattern)
    with (HOME / "htdocs/download/large.bin").open("wb") as large:
        large.truncate(download_mib * 1024 * 1024)
    (HOME / "nginx.conf").write_text(NGINX_CONFIG)
    os.chown(HOME, NOBODY, NOBODY)


def _start_nginx() -> int:
    rights = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    sandbox = ["setpriv", *rights, "--no-new-privs", "--bounding-set", "-all", "--inh-caps", "-all"]
    return subprocess.Popen([*sandbox, "nginx", "-e", "stderr", "-c", str(HOME / "nginx.conf")]).pid


def _start_recorder(records: Records) -> int:
    """Fork instead of starting anew: the unprivileged user may be unable to read this program's files."""
    pid = os.fork()
    if pid:
        return pid
    (HOME / "empty").mkdir(mode=0o555)
    os.chroot(HOME / "empty")
    os.chdir("/")
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    if ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        os._exit(1)
    asyncio.run(listen(records, RAW_PORT, NGINX_PORT))
    os._exit(1)


if __name__ == "__main__":
    main()
