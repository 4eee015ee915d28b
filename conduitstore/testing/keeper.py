"""Runs a server for as long as its parent lives: whoever starts it need not live to stop it.

    python keeper.py PARENT USER DIRECTORY... -- COMMAND...

It prints the process id of the command, and ends when that has ended; on Linux, when what it left
behind has ended too. When the parent is gone, however it went, the command gets SIGQUIT and the
directories are removed. When the keeper itself is killed, Linux sends the SIGQUIT. It stands alone,
so that it starts fast and imports nothing.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys

LOOKS_EVERY_SECONDS = 0.25
PATIENCE_SECONDS = 10
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def die_with_the_keeper() -> None:
    """Ask Linux for a SIGQUIT when the keeper dies; after the change of user, which forgets it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def main(arguments: list[str]) -> None:
    """Run the command."""
    cut = arguments.index("--")
    parent, user, *directories = arguments[:cut]
    changed = {"user": user, "group": _group(user), "extra_groups": []} if user else {}
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    process = subprocess.Popen(  # type: ignore[call-overload]
        arguments[cut + 1 :],
        preexec_fn=die_with_the_keeper,  # noqa: PLW1509 - there is one thread
        cwd="/",
        stdout=sys.stderr,
        **changed,
    )
    sys.stdout.write(f"{process.pid}\n")
    sys.stdout.flush()
    has_ended = _outlived_by(process, int(parent))
    if not has_ended:
        _end(process)
    _reap()
    for directory in directories if not has_ended else ():  # When nobody writes there any more.
        shutil.rmtree(directory, ignore_errors=True)


def _outlived_by(process: "subprocess.Popen[bytes]", parent: int) -> bool:
    """Whether the process ends while the parent still lives."""
    while os.getppid() == parent:
        try:
            process.wait(LOOKS_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return True
    return False


def _reap() -> None:
    """Wait for the orphans of a command that was killed: they hold on to its memory and files."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _group(user: str) -> int:
    import pwd  # noqa: PLC0415 - only root gets here

    return pwd.getpwnam(user).pw_gid


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
