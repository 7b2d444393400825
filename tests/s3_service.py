"""A real S3 service for tests: moto's server in this process, which can be told to answer badly."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Environment = dict[str, Any]
Answer = Callable[[Environment, Any], Iterable[bytes] | None]

BUCKET = "beamtimes"
KEY_ID, SECRET = "AKIATESTTESTTESTTEST", "a-secret-that-must-not-appear"


class Service:
    """moto behind a door: requests are counted, and `fault` may answer one instead of moto, or change it."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.fault: Answer | None = None
        self.requests: list[tuple[str, str]] = []
        # S3 decides a conditional write in one moment; moto looks first and writes then, in several threads.
        self._deciding = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _answer(self, environ: Environment, start: Any) -> Iterable[bytes]:
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        fault = self.fault
        if fault is not None and (answer := fault(environ, start)) is not None:
            return answer
        return self.moto(environ, start)

    def moto(self, environ: Environment, start: Any) -> Iterable[bytes]:
        """What moto says."""
        if "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ:
            with self._deciding:
                return list(self._moto(environ, start))
        return self._moto(environ, start)  # type: ignore[no-any-return]

    @contextmanager
    def failing(self, fault: Answer) -> Iterator[None]:
        """Answer badly for a while."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None

    def client(self) -> Any:
        """boto3's client, for looking from outside."""
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET, config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    def variables(self) -> dict[str, str]:
        """The environment in which the service is reached."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def stop(self) -> None:
        """No more answers."""
        self._server.shutdown()
        self._server.server_close()


def refusal(status: str, code: str) -> Answer:
    """An error as S3 words it, with the keys that it quotes."""

    def fault(_: Environment, start: Any) -> Iterable[bytes]:
        start(status, [("Content-Type", "application/xml")])
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId></Error>"
        return [body.encode()]

    return fault
