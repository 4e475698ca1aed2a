"""Clients that send slowly, do not read, or open many connections, against a real server in a thread."""

import contextlib
import json
import socket
import threading

import httpx
import pytest

from continuous_training.serving.app import ModelApp
from continuous_training.serving.connections import Limits
from continuous_training.serving.server import ModelServer
from continuous_training.trainers.bundle import load_bundle
from served_model import listening, release

HEAD = b"POST /invocations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"


@contextlib.contextmanager
def served(trained, **limits):
    app = ModelApp(release(1), load_bundle(trained[0]), ["127.0.0.1", "localhost"])
    with listening() as listener:
        server = ModelServer(app, Limits(**limits))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(60)


def send_on(connection, data):
    """Send without reading until the server ends the connection; one that only waits lets this time out."""
    connection.settimeout(30)
    while True:
        connection.sendall(data)


@pytest.mark.parametrize("begun", [b"", b"POST /invoc", HEAD[:60], HEAD, HEAD + b'{"data'])
def test_a_request_that_does_not_arrive_in_time_is_ended(trained, begun):
    with served(trained, seconds=0.2) as address, socket.create_connection(address) as connection:
        connection.settimeout(30)
        for byte in begun:
            connection.sendall(bytes([byte]))
        answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"connection: close\r\n" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["message"] == "the request did not arrive within 0.2 s"
        assert httpx.get(f"http://127.0.0.1:{address[1]}/ping").status_code == 200


def test_the_next_request_of_a_connection_has_as_long_as_the_first(trained):
    with served(trained, seconds=0.2) as address, socket.create_connection(address) as connection:
        connection.settimeout(30)
        connection.sendall(b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\nGET /pi")
        answers = connection.makefile("rb").read()
        assert answers.startswith(b"HTTP/1.1 200 OK")
        assert b"HTTP/1.1 408 " in answers


def test_one_connection_too_many_is_told_to_come_again(trained):
    with served(trained, connections=2, seconds=60) as address, contextlib.ExitStack() as stack:
        for _ in range(2):
            connection = stack.enter_context(socket.create_connection(address))
            connection.sendall(b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        refused = stack.enter_context(socket.create_connection(address))
        answer = refused.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"retry-after: 1\r\n" in answer
        connection.close()
        while httpx.get(f"http://127.0.0.1:{address[1]}/ping").status_code != 200:
            pass


def test_a_client_that_sends_ahead_without_end_is_left(trained):
    request = b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with served(trained) as address:
        with socket.create_connection(address) as connection:
            connection.settimeout(30)
            connection.sendall(request * 50)
            assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        with socket.create_connection(address) as connection, pytest.raises(ConnectionError):
            send_on(connection, request * 1000)


def test_a_client_that_does_not_read_its_answers_is_left(trained):
    body = b'{"instances": [%s[1, 2, "UA"]]}' % (b'[1, 2, "UA"],' * 50_000)
    request = HEAD.replace(b"100", b"%d" % len(body)) + body
    with (
        served(trained, seconds=0.5) as address,
        socket.create_connection(address) as connection,
        pytest.raises(ConnectionError),
    ):
        send_on(connection, request)


@pytest.mark.parametrize("line", [b"x-filler: " + b"x" * 1000 + b"\r\n", b"x" * 1000])
def test_a_client_whose_headers_never_end_is_told_so_and_left(trained, line):
    with served(trained, seconds=60) as address, socket.create_connection(address) as connection:
        connection.settimeout(30)
        connection.sendall(b"GET /ping HTTP/1.1\r\nhost: localhost\r\nx-long: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(line)
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["message"].startswith(
            "the lines before the body are longer than 65,536"
        )


def test_a_client_whose_lines_after_a_body_never_end_is_left(trained):
    chunked = HEAD.replace(b"content-length: 100", b"transfer-encoding: chunked")
    with served(trained, seconds=60) as address, socket.create_connection(address) as connection:
        connection.settimeout(30)
        connection.sendall(chunked + b"2\r\n{}\r\n0\r\n")
        line = b"x-filler: " + b"x" * 1000 + b"\r\n"
        with pytest.raises(ConnectionError):
            connection.sendall(line * 20_000)


def test_long_headers_and_a_large_body_before_the_next_request_are_read(trained):
    rows = b",".join([b'[1, 2, "UA"]'] * 50_000)
    body = b'{"instances": [%b]}' % rows
    ask = HEAD.replace(b"100", b"%d\r\nx-long: %b" % (len(body), b"x" * 40_000)) + body
    with served(trained) as address, socket.create_connection(address) as connection:
        connection.settimeout(30)
        threading.Thread(
            target=connection.sendall, args=(ask * 2 + b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n",)
        ).start()
        answers = b""
        while answers.count(b"HTTP/1.1 200 OK") < 3 or not answers.endswith(b"}"):
            answers += (read := connection.recv(2**20))
            assert read
