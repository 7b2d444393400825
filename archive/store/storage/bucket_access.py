"""Access to a bucket: endpoint, region and keys from the environment or the standard profile files, and its errors.

Keys are read at each use; they are in no repr, message or file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from barospec.schemas.errors import BarospecError, NotFound, StoreError

DEFAULT_REGION = "us-east-1"
# Sources of keys in the cloud's containers and clusters; obstore and icechunk both use them.
AMBIENT = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
ELSEWHERE = ("sso_session", "sso_start_url", "role_arn", "credential_process", "source_profile", "login_session")


@dataclass(frozen=True, slots=True)
class Access:
    """Endpoint, region and keys. ``endpoint`` is None for AWS."""

    region: str = DEFAULT_REGION
    endpoint: str | None = None
    anonymous: bool = False
    key_id: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def for_obstore(self) -> dict[str, Any]:
        """Return keyword arguments of obstore's ``S3Store``."""
        keys = {"access_key_id": self.key_id, "secret_access_key": self.secret, "session_token": self.token}
        return {
            "region": self.region,
            "virtual_hosted_style_request": self.endpoint is None,
            **({"endpoint": self.endpoint} if self.endpoint else {}),
            **({"skip_signature": True} if self.anonymous else {name: v for name, v in keys.items() if v}),
        }

    def for_icechunk(self) -> dict[str, Any]:
        """Return keyword arguments of ``icechunk.s3_storage``."""
        keys = {"access_key_id": self.key_id, "secret_access_key": self.secret, "session_token": self.token}
        return {
            "region": self.region,
            "endpoint_url": self.endpoint,
            "allow_http": bool(self.endpoint and self.endpoint.startswith("http:")),
            # A self-hosted service seldom has a host name for each bucket.
            "force_path_style": self.endpoint is not None,
            **({"anonymous": True} if self.anonymous else keys if self.key_id else {"from_env": True}),
        }


def access(place: str, environment: Mapping[str, str] = os.environ) -> Access:
    """Return the access to a bucket, from the variables and files that all tools for S3 share.

    Variables win over the profile: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_REGION`` or
    ``AWS_DEFAULT_REGION``, ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``; ``AWS_PROFILE`` names the profile in
    ``~/.aws/credentials`` and ``~/.aws/config``. ``AWS_SKIP_SIGNATURE=true`` asks without keys, for public buckets.

    Raises
    ------
    StoreError
        There are no keys, only half of them, or another tool must fetch them first.

    Examples
    --------
    >>> access("s3://b/a", {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_REGION": "eu-west-1"})
    Access(region='eu-west-1', endpoint=None, anonymous=False)
    """

    def variable(*names: str) -> str | None:
        return next((value for name in names if (value := environment.get(name, "").strip())), None)

    profile = _profile(place, environment)
    anonymous = (variable("AWS_SKIP_SIGNATURE", "AWS_NO_SIGN_REQUEST") or "").lower() in ("1", "true", "yes")
    found = Access(
        region=variable("AWS_REGION", "AWS_DEFAULT_REGION") or profile.get("region") or DEFAULT_REGION,
        endpoint=variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") or profile.get("endpoint_url"),
        anonymous=anonymous,
    )
    if found.endpoint and not re.match(r"https?://[^/@\s]+", found.endpoint):
        raise StoreError(f"the endpoint of {place} should be a URL without keys in it, such as https://s3.example.org.")
    if anonymous:
        return found
    key_id, secret, token = (
        variable(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    )
    if not (key_id or secret):
        key_id, secret, token = (
            profile.get(name) for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        )
    if bool(key_id) != bool(secret):
        raise StoreError(
            f"{place}: of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY only one is set. Set both, or neither."
        )
    if key_id is None and not variable(*AMBIENT):
        raise StoreError(_no_keys(place, profile, environment))
    return Access(found.region, found.endpoint, False, key_id, secret, token)


def _no_keys(place: str, profile: Mapping[str, str], environment: Mapping[str, str]) -> str:
    name = environment.get("AWS_PROFILE") or "default"
    if any(key in profile for key in ELSEWHERE):
        return (
            f"{place}: profile {name} gets its keys by signing in. Put them in the environment first:\n"
            f'  eval "$(aws configure export-credentials --profile {name} --format env)"'
        )
    return (
        f"{place}: there are no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile in "
        "~/.aws/credentials; for a public bucket set AWS_SKIP_SIGNATURE=true."
    )


def _profile(place: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the named or default profile, of both files; empty if there is none."""
    home = Path(environment.get("HOME") or Path.home())
    name = environment.get("AWS_PROFILE", "").strip()
    files = (
        (environment.get("AWS_CONFIG_FILE") or home / ".aws/config", f"profile {name}" if name else "default"),
        (environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials", name or "default"),
    )
    found: dict[str, str] = {}
    known = False
    for file, section in files:
        path = Path(file).expanduser()
        if path.is_file():
            sections = _sections(path)
            services = sections.get(f"services {sections.get(section, {}).get('services', '')}", {})
            endpoint = re.search(r"endpoint_url\s*=\s*(\S+)", services.get("s3", ""))
            known = known or section in sections
            found |= sections.get(section, {}) | ({"endpoint_url": endpoint[1]} if endpoint else {})
    if name and not known:
        raise StoreError(f'{place}: there is no profile "{name}" (AWS_PROFILE) in ~/.aws/credentials or ~/.aws/config.')
    return found


def _sections(path: Path) -> dict[str, dict[str, str]]:
    from configparser import Error, RawConfigParser

    parser = RawConfigParser(default_section="", strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (Error, OSError, UnicodeDecodeError) as error:
        # The parser's own message quotes the line, which may be a key.
        raise StoreError(f"{path} cannot be read as a profile file ({type(error).__name__}).") from None
    return {" ".join(section.split()): dict(parser[section]) for section in parser.sections()}


# Code of the service -> meaning and advice. The service's text may quote keys, and is not shown.
SAID = {
    "NoSuchBucket": "there is no such bucket{at}. Correct the address, or create the bucket with your provider's tools.",
    "InvalidAccessKeyId": "the access key is not known{at}. Check AWS_ACCESS_KEY_ID or the profile, and the endpoint.",
    "SignatureDoesNotMatch": "the secret key does not fit the access key. Check AWS_SECRET_ACCESS_KEY or the profile.",
    "ExpiredToken": "the credentials have expired. Get new ones and try again.",
    "InvalidToken": "the session token is not valid (any more). Get new credentials and try again.",
    "RequestTimeTooSkewed": "this machine's clock is too far from the service's, which refuses its requests. Set the clock.",
    "PermanentRedirect": "the bucket is in another region than {region}. Set AWS_REGION to that of the bucket.",
    "AuthorizationHeaderMalformed": "the bucket is in another region than {region}. Set AWS_REGION to that of the bucket.",
    "AccessDenied": "these credentials do not permit this. Reading needs s3:GetObject and s3:ListBucket, writing also "
    "s3:PutObject and s3:DeleteObject.",
    "NoSuchKey": "an object of the archive is missing: it was removed, or the archive was copied in part.",
    "SlowDown": "the service is overloaded. Try again later.",
    "ServiceUnavailable": "the service is not available at the moment. Try again later.",
    "InternalError": "the service reports an internal error. Try again later.",
    "NotImplemented": "the service does not know a request that archives need; see docs/remote.md.",
}
SAID["object not found"] = SAID["NoSuchKey"]  # in icechunk's words
# obstore's message for a redirect without target.
SAID["redirect without LOCATION"] = SAID["PermanentRedirect"]
UNREACHABLE = (
    "dns error",
    "connect error",
    "error sending request",
    "dispatch failure",
    "timed out",
    "timeout",
    "ConnectError",
)
STATUS = {"401": "AccessDenied", "403": "AccessDenied", "301": "PermanentRedirect", "503": "ServiceUnavailable"}


def explain(error: Exception, place: str, how: Access) -> BarospecError:
    """Explain an error of obstore or icechunk, in a message without the service's text.

    >>> print(explain(OSError("<Code>NoSuchBucket</Code>"), "s3://b/a", Access(endpoint="https://s3.example.org")))
    s3://b/a: there is no such bucket at https://s3.example.org. Correct the address, or create the bucket with your provider's tools.
    """
    text, at = str(error), f" at {how.endpoint}" if how.endpoint else ""
    code = next((code for code in SAID if code in text), None)
    status = re.search(r"status code: (\d{3})|status: (?:StatusCode\()?(\d{3})", text)
    if code is None and status:
        code = STATUS.get(status[1] or status[2])
    if code is not None:
        message = f"{place}: {SAID[code].format(at=at, region=how.region)}"
        return NotFound(message) if code == "NoSuchBucket" else StoreError(message)
    if any(word in text for word in UNREACHABLE):
        return StoreError(
            f"{place}: the service{at} cannot be reached. Check the network and the endpoint (AWS_ENDPOINT_URL), and try again."
        )
    reported = f"status {status[1] or status[2]}" if status else type(error).__name__
    return StoreError(f"{place}: the service{at} gave an unknown answer ({reported}). Is it an S3 service?")
