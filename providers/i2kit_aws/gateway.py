"""The only place that talks to AWS: one call by its name, errors in AWS's words, tried again where that helps. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import botocore.session
from attrs import evolve, field, frozen
from botocore import xform_name
from botocore.config import Config
from botocore.parsers import ResponseParserError

from i2kit.calls import Retries
from i2kit.clock import SystemClock
from i2kit.driver import CallLimits, Context
from i2kit.errors import InvalidInput, Problem, ProviderError, TransientError
from i2kit_aws.settings import Settings

T = TypeVar("T")

LIMITS = CallLimits(attempts=9, first_delay_seconds=0.25, greatest_delay_seconds=20.0)
"""How often one request is made again, and after how long."""

# What AWS calls it when requests come too fast, service by service, and what passes by itself.
_PASSING = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "PriorRequestNotComplete",
        "TooManyUpdates",
        "RequestTimeout",
        "RequestTimeoutException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Unavailable",
        "ConcurrentModification",
        "ConcurrentModificationException",
        "ResourceContention",
    }
)
# No answer, or half of one: nobody knows whether the request had its effect.
_LOST = (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError, ResponseParserError)
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_NO_CREDENTIALS = (
    "configure them as for the aws command: environment variables, a profile (aws configure, aws sso login), or an instance role"
)


class AwsError(ProviderError):
    """AWS refused a request; `code` is its own word for why."""

    code: str = ""


@frozen(kw_only=True)
class _Clients:
    """The clients of one session, which are made once each and shared by all threads."""

    settings: Settings
    lock: threading.RLock = field(factory=threading.RLock)
    made: dict[str, Any] = field(factory=dict)
    sessions: list[boto3.session.Session] = field(factory=list)
    paginators: dict[str, Any] = field(factory=dict)
    caller: list[tuple[str, str]] = field(factory=list)

    def client(self, service: str) -> Any:
        # Making clients is not thread-safe; using them is.
        with self.lock:
            if service not in self.made:
                config = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60, max_pool_connections=32)
                self.made[service] = self.session().client(service, region_name=self.settings.region, config=config)
            return self.made[service]

    def session(self) -> boto3.session.Session:
        """Return the session; it holds the credentials, and renews those that it can."""
        with self.lock:
            if not self.sessions:
                self.sessions.append(boto3.session.Session(profile_name=self.settings.profile, region_name=self.settings.region))
            return self.sessions[0]

    def tokens(self, service: str, operation: str) -> tuple[tuple[str, str], ...]:
        """Return what of an answer, where there is more, goes into the next request: pairs of parameter and answer's field."""
        with self.lock:
            if service not in self.paginators:
                self.paginators[service] = botocore.session.get_session().get_paginator_model(service)
        try:
            known = self.paginators[service].get_paginator(operation)
        except ValueError:
            return ()
        given, told = (one if isinstance(one, list) else [one] for one in (known["input_token"], known["output_token"]))
        return tuple(zip(given, (name.split(" || ")[0] for name in told), strict=True))

    def forget(self) -> None:
        """Ask for credentials anew with the next request; whose they are is asked again too."""
        with self.lock:
            self.made.clear()
            self.sessions.clear()
            self.caller.clear()


@frozen(kw_only=True)
class Gateway:
    """Makes requests to one account and region; `context` is the change they belong to, which can stop between tries."""

    settings: Settings
    clients: _Clients = field(repr=False)
    retries: Retries = field(repr=False)
    context: Context | None = field(default=None, repr=False)

    @classmethod
    def connect(cls, settings: Settings) -> Gateway:
        """Return a gateway; nothing is asked yet."""
        return cls(settings=settings, clients=_Clients(settings=settings), retries=Retries(LIMITS, clock=SystemClock()))

    def during(self, context: Context) -> Gateway:
        """Return the same gateway for the requests of one change."""
        return evolve(self, context=context)

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a request, such as ``call("ec2", "CreateVpc", CidrBlock=...)``.

        What passes by itself is tried again. Raises `AwsError` when AWS refuses it, `TransientError` when it never got through.
        """
        about = f"{service}:{operation}"
        renewed = False

        def one_try() -> dict[str, Any]:
            nonlocal renewed
            try:
                return dict(getattr(self.clients.client(service), xform_name(operation))(**parameters))
            except botocore.exceptions.ClientError as error:
                if not renewed and _code(error) in _EXPIRED:
                    # Whoever renewed them meanwhile has left the new ones where the chain looks.
                    renewed = True
                    self.clients.forget()
                    raise TransientError.of("aws-credentials", f"{about}: {_words(error)}") from error
                raise _refused(about, error) from error
            except (botocore.exceptions.BotoCoreError, ResponseParserError) as error:
                raise _failed(about, error) from error

        return self.retries.call(about, one_try, context=self.context)

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        """Yield the items under `key` of all pages of an answer."""
        tokens = self.clients.tokens(service, operation)
        wanted = dict(parameters)
        while True:
            answer = self.call(service, operation, **wanted)
            yield from answer.get(key) or ()
            more = {given: answer[told] for given, told in tokens if answer.get(told)}
            if not more:
                return
            wanted |= more

    def endpoint(self, service: str) -> dict[str, str]:
        """Return where a service is asked (``endpoint``), and, where that is no address of AWS's own, whom to trust (``ca``, as PEM)."""
        url = str(self.clients.client(service).meta.endpoint_url)
        if (urlsplit(url).hostname or "").endswith(_AWS_DOMAINS):
            return {"endpoint": url}
        bundle = botocore.session.Session(profile=self.settings.profile).get_config_variable("ca_bundle")
        return {"endpoint": url, **({"ca": Path(bundle).read_text()} if bundle else {})}

    @property
    def account(self) -> str:
        """The account's number."""
        return self._caller()[0]

    @property
    def partition(self) -> str:
        """The part of AWS that the account is in: ``aws``, ``aws-cn``, ``aws-us-gov``."""
        return self._caller()[1]

    def _caller(self) -> tuple[str, str]:
        with self.clients.lock:
            if not self.clients.caller:
                answer = self.call("sts", "GetCallerIdentity")
                self.clients.caller.append((str(answer["Account"]), str(answer["Arn"]).split(":")[1]))
            return self.clients.caller[0]

    def check_account(self) -> None:
        """Raise `InvalidInput` when the credentials are for another account than the environment's."""
        wanted = self.settings.account
        if wanted and wanted != self.account:
            raise InvalidInput(
                Problem(
                    code="aws-account",
                    message=f"the credentials are for account {self.account}, and the environment is in account {wanted}",
                    hint="use the profile of that account, or correct provider.account",
                )
            )

    def close(self) -> None:
        """Let requests that wait to be made again fail."""
        self.retries.close()


def absent(*codes: str) -> Callable[[Callable[[], T]], T | None]:
    """Return a function that does something and returns None when AWS answers with one of `codes`: what is gone needs no deleting."""

    def attempt(work: Callable[[], T]) -> T | None:
        try:
            return work()
        except AwsError as error:
            if error.code in codes:
                return None
            raise

    return attempt


def _code(error: botocore.exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _words(error: botocore.exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message") or error)


def _refused(about: str, error: botocore.exceptions.ClientError) -> ProviderError:
    code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _PASSING or status >= 500:
        return TransientError.of("aws-unavailable", f"{about}: {code}: {_words(error)}")
    made = AwsError(Problem(code="aws-refused", message=f"{about}: {code}: {_words(error)}", hint=_hint(code)))
    made.code = code
    return made


def _hint(code: str) -> str:
    if code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"):
        return "docs/providers/aws.md has the policy that i2kit needs"
    if code in ("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", *_EXPIRED):
        return _NO_CREDENTIALS
    return ""


def _failed(about: str, error: Exception) -> ProviderError:
    """Say what went wrong on this side of AWS, or on the way there."""
    if isinstance(error, _LOST):
        return TransientError.of("aws-unreachable", f"{about}: {error}")
    if isinstance(error, botocore.exceptions.ParamValidationError):
        return ProviderError.of("aws-refused", f"{about}: {error}")
    return ProviderError.of("aws-credentials", f"{about}: {error}", hint=_NO_CREDENTIALS)
