import errno
import socket

from webservers import probe


def test_a_free_port_is_chosen_and_let_go() -> None:
    chosen = probe.port("127.0.0.1", 0)["port"]
    assert isinstance(chosen, int)
    assert probe.port("127.0.0.1", chosen) == {"port": chosen}


def test_a_listener_is_seen_even_when_it_would_share() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        answer = probe.port("127.0.0.1", listener.getsockname()[1])
    assert answer["errno"] == errno.EADDRINUSE


def test_the_end_of_the_time_says_what_went_wrong_last() -> None:
    closed = probe.port("127.0.0.1", 0)["port"]
    assert isinstance(closed, int)
    answer = probe.tls("127.0.0.1", closed, "server.ssa.test", "", "/", -1)
    assert answer == {"error": "[Errno 111] Connection refused"}
