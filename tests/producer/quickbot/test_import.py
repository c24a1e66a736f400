import subprocess
import sys


def test_bots_do_not_load_it() -> None:
    """A bot that imports the producer loads no adapter."""
    code = (
        "import sys, pombo.producer; print([name for name in sys.modules if 'quickbot' in name or 'adapted' in name])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (0, "", "[]") == (done.returncode, done.stderr, done.stdout.strip())
