"""What a forked child makes of its parent's store; it never comes back into the run of tests."""

import os


def refused_in_child(error, *calls, last=lambda: None):
    """Whether each of the calls raises this error in a child, which does ``last`` at its end."""
    return exits_well(lambda: all(_raises(call, error) for call in calls) and last() is None)


def _raises(call, error):
    try:
        call()
    except error:
        return True
    return False


def exits_well(run):
    """Whether ``run()`` gives something true in a child."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if run() else 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0
