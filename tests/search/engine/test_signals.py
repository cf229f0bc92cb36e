import os
import signal
import threading

import pytest

from foretune.search.engine.signals import stop_on_signal


def test_first_signal_is_noted_second_stops_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with stop_on_signal() as stop:
        stop.heed()
        os.kill(os.getpid(), signal.SIGINT)
        assert "once more to stop at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            stop.heed()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signal():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_threads_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with stop_on_signal() as stop:
            stop.heed()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_context_inside_another_is_the_same_request() -> None:
    with stop_on_signal() as outer:
        with stop_on_signal() as inner:
            signal.raise_signal(signal.SIGINT)
        assert inner is outer
        assert outer.requested
