"""Addresses, arguments and messages; tests/board has a real server."""

import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.devices import ssh
from edgenets.export.devices.device import Emulated, Local, Ssh, parse_device
from edgenets.export.devices.interpreter import runtime_name_and_version
from edgenets.export.devices.opening import board_packages, open_device


@pytest.mark.parametrize(
    "text, address",
    [
        ("ssh://pi", (None, "pi", None)),
        ("ssh://pi@raspberrypi.local/", ("pi", "raspberrypi.local", None)),
        ("ssh://a.b-c_d@10.0.0.7:2222", ("a.b-c_d", "10.0.0.7", 2222)),
        ("ssh://[::1]:22", (None, "::1", 22)),
    ],
)
def test_an_address_has_user_host_and_port(text, address):
    assert parse_device(text) == Ssh(*address)


@pytest.mark.parametrize(
    "text, kind",
    [
        ("local", Local),
        ("ssh://pi@raspberrypi.local:2222", Ssh),
        ("ssh://[fe80::1%eth0]", Ssh),
        ("emulated:cortex-a53", Emulated),
    ],
)
def test_a_device_is_named_as_it_was_written_and_parsed_once(text, kind):
    device = parse_device(text)
    assert isinstance(device, kind) and device.name == text
    assert parse_device(device) is device


@pytest.mark.parametrize(
    "text",
    [
        *("ssh://-oProxyCommand=id", "ssh://[-oProxyCommand=id]", "ssh://-l@pi", "ssh://pi@-x"),
        *("ssh://", "ssh:pi", "ssh://pi;id", "ssh://$(id)", "ssh://a b", "ssh://@pi", "ssh://[]"),
        *("ssh://pi:0", "ssh://pi:65536", "ssh://pi:", "ssh://pi:x", "ssh://pi/etc", "ssh://pi\n"),
    ],
)
def test_what_is_no_address_or_could_be_an_option_is_refused(text):
    with pytest.raises(EdgenetsError, match=r"ssh://"):
        parse_device(text)


def test_the_client_is_given_a_list_with_a_host_that_cannot_be_an_option():
    command = ssh.client_command(Ssh("me", "pi", 2222), "a 'command'")
    assert command[0] == "ssh"
    assert command[-7:] == ["-l", "me", "-p", "2222", "--", "pi", "a 'command'"]
    for option in ("-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oConnectTimeout=10"):
        assert option in command


def test_an_unknown_device_is_one_sentence():
    with pytest.raises(EdgenetsError, match=r"unknown device 'pi'; pass local, ssh://"):
        parse_device("pi")


def test_a_board_gets_the_interpreter_that_exists_for_it_in_this_version():
    name, version = runtime_name_and_version()
    assert board_packages({"bits": 64}) == ["numpy", f"{name}=={version}"]
    assert board_packages({"bits": 32}) == ["numpy<2", "tflite-runtime"]


def test_a_missing_client_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgenetsError, match="OpenSSH client is not installed"):
        open_device(Ssh(None, "pi", None))


@pytest.mark.parametrize(
    "status, messages, sentence",
    [
        (255, "ssh: Could not resolve hostname pi: Name or service not known", "no such name"),
        (255, "ssh: connect to host pi port 22: Connection timed out", "not answer within 10 s"),
        (255, "Timeout, server pi not responding.", "the link was lost"),
        (255, "", "the link was lost (no message)"),
        (1, "MOTD\nThis account is not available.", "status 1 (This account is not available)"),
    ],
)
def test_what_the_client_says_becomes_a_sentence(status, messages, sentence):
    assert sentence in ssh.failure(Ssh(None, "pi", None), status, messages)
