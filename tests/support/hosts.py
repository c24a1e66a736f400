"""Names of a process's own: `python -m support.hosts HOSTS WORDS…` is `python WORDS…` with HOSTS as its /etc/hosts.

What is not in there does not resolve: its resolver's address has no server. It takes Linux, and a kernel that lets
this user have a mount namespace.
"""

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'


def possible() -> bool:
    """Whether this machine allows it."""
    words = ["unshare", "-Umr", "mount", "--bind", "/dev/null", "/etc/hosts"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def main() -> None:
    """Become that process; its pid stays."""
    hosts, *words = sys.argv[1:]
    resolver = Path(f"{hosts}.resolver")
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    os.execvp("unshare", ["unshare", "-Umr", "sh", "-c", _SCRIPT, hosts, str(resolver), sys.executable, *words])


if __name__ == "__main__":
    main()
