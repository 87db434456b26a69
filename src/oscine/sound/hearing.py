"""How fast a sound must be played to be heard by people.

In come the bands of a picture or of an event; out comes a speed. The report slows ultrasound down
and speeds infrasound up by it, and says so.
"""

import math

AUDIBLE_HZ = (20.0, 16_000.0)
"""What lies within is played as it is."""
_COMFORTABLE_HZ = (500.0, 3_000.0)
_STEPS = (1, 2, 5, 10, 20, 50, 100)


def playing_speed(low_hz: float, high_hz: float) -> float:
    """Return the speed at which a range of frequencies can be heard.

    Parameters
    ----------
    low_hz, high_hz : float

    Returns
    -------
    float
        1 where all of it is audible. Otherwise that of 1, 2, 5, 10, ... 100 and their inverses, the
        nearest to 1, which brings the middle of the range (in octaves) to 500 to 3,000 Hz: bats are
        played at a tenth of their speed, as is the custom.
    """
    if low_hz >= AUDIBLE_HZ[0] and high_hz <= AUDIBLE_HZ[1]:
        return 1.0
    middle_hz = math.sqrt(max(low_hz, 1.0) * high_hz)
    speeds = (speed for step in _STEPS for speed in (float(step), 1 / step))
    low, high = _COMFORTABLE_HZ
    found = (speed for speed in speeds if low <= middle_hz * speed <= high)
    return next(found, _STEPS[-1] if middle_hz < low else 1 / _STEPS[-1])


def event_speed(picture_hz: tuple[float, float], event_hz: tuple[float, float]) -> float:
    """Return the speed at which an event is played among others of its archive.

    Parameters
    ----------
    picture_hz, event_hz : (low, high)

    Returns
    -------
    float
        That of the picture, so that events can be compared by ear, unless nothing of this event
        would be heard: then its own.
    """
    speed = playing_speed(*picture_hz)
    low, high = (hz * speed for hz in event_hz)
    is_heard = low < AUDIBLE_HZ[1] and high > AUDIBLE_HZ[0]
    return speed if is_heard else playing_speed(*event_hz)
