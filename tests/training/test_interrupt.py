from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from lenscope.errors import Interrupted
from lenscope.training.interrupt import listen_for_stop

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def heard():
    """What reaches the handlers that were there before."""
    numbers = []
    before = {number: signal.signal(number, lambda got, _frame: numbers.append(got)) for number in SIGNALS}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_raises_the_flag_and_the_second_acts_as_before(number, second, heard):
    with listen_for_stop() as flag:
        assert not flag()
        assert flag.signal is None
        signal.raise_signal(number)
        assert flag()
        assert flag.signal == number
        assert heard == []
        signal.raise_signal(second)
        assert heard == [second]
        assert flag.signal == number


def test_ctrl_c_twice_is_a_keyboard_interrupt():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt), listen_for_stop():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("times", [0, 1, 2])
def test_the_handlers_come_back(times, heard):
    before = [signal.getsignal(number) for number in SIGNALS]
    with listen_for_stop():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        for _ in range(times):
            signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_the_handlers_come_back_after_an_error(heard):
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError), listen_for_stop():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_off_the_main_thread_the_flag_stays_down_and_no_handler_changes(heard):
    before = [signal.getsignal(number) for number in SIGNALS]
    seen = []

    def listen():
        with listen_for_stop() as flag:
            seen.append((flag(), [signal.getsignal(number) for number in SIGNALS]))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_what_a_shell_told_the_process_to_ignore_stays_ignored(heard):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with listen_for_stop() as flag:
        signal.raise_signal(signal.SIGINT)
        assert not flag()
        signal.raise_signal(signal.SIGTERM)
        assert flag()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_interrupted_tells_the_directory():
    error = Interrupted(Path("runs/a"), signal.SIGTERM, "resume with: lenscope train --resume runs/a")
    assert isinstance(error, KeyboardInterrupt)
    assert str(error) == "interrupted; resume with: lenscope train --resume runs/a"
    assert (error.path, error.signal) == (Path("runs/a"), signal.SIGTERM)
