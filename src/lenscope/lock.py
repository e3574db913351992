"""The lock of the operating system on a file; it ends with its process, however that ends."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _EXCLUSIVE, _FAIL_IMMEDIATELY = 2, 1
    _ERROR_LOCK_VIOLATION = 33

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("internal", ctypes.c_void_p), ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD), ("offset_high", wintypes.DWORD), ("event", wintypes.HANDLE),
        )  # fmt: skip

    def _acquire(descriptor: int, *, wait: bool) -> None:
        place = _Overlapped(offset_high=1)  # past the content: Windows lets no other process read a locked byte
        flags = _EXCLUSIVE | (0 if wait else _FAIL_IMMEDIATELY)
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor))
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        if not kernel.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(place)):
            code = ctypes.get_last_error()
            raise BlockingIOError if code == _ERROR_LOCK_VIOLATION else ctypes.WinError(code)

else:
    import fcntl

    def _acquire(descriptor: int, *, wait: bool) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def lock_file(descriptor: int, *, wait: bool = False) -> bool | None:
    """Lock an open file until its descriptor is closed.

    Args:
        descriptor: of the file.
        wait: until no other process holds the lock.

    Returns:
        Whether this process holds the lock now; None where the file system has no locks.
    """
    try:
        _acquire(descriptor, wait=wait)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
