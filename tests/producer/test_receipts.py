import pickle
import threading

import pytest

from pombo.producer import Accepted, Receipt, Rejected, Spooled


def test_accepted() -> None:
    """A settled receipt returns its outcome with the messageId."""
    receipt = Receipt("m1")
    receipt.settle(Accepted)
    assert (Accepted("m1"), True) == (receipt.result(timeout=0), receipt.done)


def test_spooled() -> None:
    """Spooled is an outcome of its own and carries the messageId too."""
    receipt = Receipt("m1")
    receipt.settle(Spooled)
    assert Spooled("m1") == receipt.result()


def test_rejected_raises() -> None:
    """The result of a rejected event raises, with reason, field, message and messageId."""
    receipt = Receipt("m1", Rejected("invalid", "no user", "userId", "m1"))
    with pytest.raises(Rejected) as caught:
        receipt.result()
    found = caught.value
    assert ("invalid", "userId", "no user", "m1") == (
        found.reason,
        found.field,
        found.message,
        found.message_id,
    )


def test_each_reader_gets_its_own_exception() -> None:
    """Threads that read one receipt do not share a traceback."""
    receipt = Receipt("m1", Rejected("closed", "too late"))
    with pytest.raises(Rejected) as first:
        receipt.result()
    with pytest.raises(Rejected) as second:
        receipt.result()
    assert first.value is not second.value


def test_open_receipt_times_out() -> None:
    """An open receipt raises TimeoutError after the time, and can be asked again."""
    receipt = Receipt("m1")
    with pytest.raises(TimeoutError, match="m1"):
        receipt.result(timeout=0.001)
    receipt.settle(Accepted)
    assert Accepted("m1") == receipt.result(timeout=0.001)


def test_settled_once() -> None:
    """The first outcome stands."""
    receipt = Receipt("m1")
    receipt.settle(Accepted)
    receipt.settle(Rejected("closed", "too late"))
    receipt.abandon(Rejected("unconfirmed", "forked"))
    assert Accepted("m1") == receipt.outcome


def test_all_waiting_threads_are_told() -> None:
    """Every thread that waits for one receipt gets the outcome."""
    receipt = Receipt("m1")
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(receipt.result(10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    receipt.settle(Accepted)
    for thread in threads:
        thread.join(10)
    assert [Accepted("m1")] * 8 == results


def test_abandoning_tells_nobody() -> None:
    """A forked child's receipt calls none of the parent's watchers."""
    receipt = Receipt("m1")
    told: list[str] = []
    receipt.watch(lambda: told.append("settled"))
    receipt.abandon(Rejected("unconfirmed", "forked"))
    assert ([], True) == (told, receipt.done)


def test_rejections_travel() -> None:
    """A rejection survives pickling, as task queues and process pools do to exceptions."""
    rejected = pickle.loads(pickle.dumps(Rejected("invalid", "no user", "userId", "m1")))
    assert ("invalid: no user", "userId", "m1") == (str(rejected), rejected.field, rejected.message_id)


def test_shows_its_state() -> None:
    """A receipt in a log line says what it is."""
    receipt = Receipt("m1")
    before = repr(receipt)
    receipt.settle(Accepted)
    assert ("<Receipt m1: open>", "<Receipt m1: Accepted(message_id='m1')>") == (before, repr(receipt))
