"""What Redis has lost already, and nobody has acknowledged."""

from collections.abc import Sequence

from pombo.ops.doctor.check import Check, listed
from pombo.ops.overview import SourceView
from pombo.shared.losses import Losses


def losses_check(views: Sequence[SourceView], losses: Losses) -> Check:
    """Judge the sources' notes, and those of the fleet."""
    found = [view.name for view in views if view.ledger.forgotten or view.ledger.fallen]
    told = [*losses.fleet_sentences(), *([f"it forgot accepted events of {listed(found)}"] if found else [])]
    if not told:
        return Check("losses", True, "Redis has lost nothing that anybody noticed")
    return Check("losses", False, "; ".join(told), "read `pombo audit`, then clear it: `pombo audit --acknowledge`")
