"""What may not be read or written, for tests that may run as root, who may do all; a full disk."""

import os
from contextlib import contextmanager

NOBODY = 65534


def open_to_others(folder):
    """Let others into a folder of a test: the folder of all tests is closed to them."""
    for one in (folder, *folder.parents):
        one.chmod(one.stat().st_mode | 0o055)
        if one.name.startswith("pytest-of-"):
            break


@contextmanager
def write_protected(folder):
    """Let nobody write in a folder, as if it were somebody else's; root is nobody meanwhile.

    Import all that is needed before: where the interpreter lies, others may not read.
    """
    open_to_others(folder.parent)
    there = [folder, *folder.rglob("*")]
    modes = {one: one.stat().st_mode for one in there}
    for one in there:
        one.chmod(0o555 if one.is_dir() else 0o444)
    is_root = os.getuid() == 0
    if is_root:
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        for one, mode in modes.items():
            one.chmod(mode)


@contextmanager
def files_of_at_most(n_bytes):
    """Let no file grow beyond so many bytes, as if the disk were full; not on Windows."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
