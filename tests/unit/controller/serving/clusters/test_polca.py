"""Caps of a row by hand."""

from controller.serving.clusters.polca import PowerCaps, cap_course, decide_caps


def test_caps_by_power() -> None:
    free = PowerCaps()
    assert decide_caps(free, 0.79) == free
    assert decide_caps(free, 0.85) == PowerCaps(1275)
    assert decide_caps(free, 0.90) == PowerCaps(1110)
    assert decide_caps(PowerCaps(1110), 0.90) == PowerCaps(1110, 1305)
    assert decide_caps(PowerCaps(1110, 1305), 0.85) == PowerCaps(1110, 1305)
    assert decide_caps(PowerCaps(1110, 1305), 0.83) == PowerCaps(1275)
    assert decide_caps(PowerCaps(1275), 0.77) == PowerCaps(1275)
    assert decide_caps(PowerCaps(1275), 0.74) == free
    assert decide_caps(free, 1.01).braking


def test_a_slow_rise_is_capped_without_a_brake_and_a_fast_one_is_not() -> None:
    slow = [(0.5 * (0.7 + 0.0005 * second), 0.5 * (0.7 + 0.0005 * second)) for second in range(500)]
    course = cap_course(slow)
    assert course.brakes == 0 and course.low_slowdown > course.high_slowdown
    jump = [(0.35, 0.35)] * 10 + [(0.52, 0.52)] * 20
    assert cap_course(jump).brakes == 1
