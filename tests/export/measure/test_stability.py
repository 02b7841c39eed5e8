import pytest

from edgenets.export.measure.stability import judge

STEADY = [1.0, 1.01, 0.99] * 40


def conditions(during_mhz=(1500.0, 1500.0), during_bits=(), after_bits=(), since_start=()):
    def look(mhz, bits):
        return {
            "seconds": 0.0,
            "governor": "performance",
            "frequency_mhz": [] if mhz is None else [mhz],
            "temperature_c": {},
            "throttled": None
            if bits is None
            else {"now": list(bits), "since_start": list(since_start)},
        }

    return {
        "before": look(600.0, ("under-voltage",)),
        "during": [look(mhz, during_bits) for mhz in during_mhz],
        "after": look(600.0, after_bits),
    }


def verdict(samples=STEADY, warm=True, processor="Raspberry Pi 4 Model B Rev 1.4", **looks):
    measured = {
        "conditions": conditions(**looks),
        "warm_up": {"runs": 9, "stable": warm},
        "device": {"processor": processor},
    }
    result = judge(measured, samples)
    return result["verdict"], result["reasons"]


def test_a_steady_board_is_stable_whatever_its_frequency_was_at_rest():
    assert verdict() == ("stable", [])


def test_what_the_firmware_remembers_is_not_blamed_on_the_run():
    assert verdict(since_start=("throttled",)) == ("stable", [])


@pytest.mark.parametrize(
    "what, said",
    [
        ({"during_bits": ("throttled",)}, "the board reported during the run: throttled"),
        ({"after_bits": ("under-voltage",)}, "under-voltage"),
        ({"during_mhz": (1500.0, 1000.0)}, "changed between 1000 and 1500 MHz"),
        (
            {"samples": [1.0] * 50 + [1.1] * 50},
            "the last third's median is 10% above the first third's",
        ),
        ({"warm": False}, "latency still changed after the warm-up"),
    ],
)
def test_what_changed_is_named(what, said):
    judged, (reason,) = verdict(**what)
    assert judged == "unstable" and said in reason


def test_a_machine_that_does_not_tell_is_unknown():
    assert verdict(during_mhz=(None,), processor="AMD EPYC")[0] == "unknown"
    assert verdict(during_bits=None)[0] == "unknown"
    assert verdict(during_bits=None, after_bits=None, processor="RK3588") == ("stable", [])
