"""The console: pages on which people see and steer an installation.

A request passes the `guard` (who asks, from where, with which token) and reaches a page. Pages are modules below
`pages`, templates in `templates`, and what browsers load in `static`: no script and no style is inline, as the policy
forbids it. Whatever is live hangs on one `poller`, which reads Redis once a tick for everybody.
"""

from pombo.ops.console.app import create_app

__all__ = ["create_app"]
