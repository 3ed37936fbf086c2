"""The only place that talks to AWS: one call by its name, errors in AWS's words, tried again where that helps. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import botocore.exceptions
from attrs import evolve, field, frozen
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.parsers import ResponseParserError

from i2kit.calls import Retries
from i2kit.clock import SystemClock
from i2kit.driver import CallLimits, Context
from i2kit.errors import InvalidInput, MissingCredentials, Problem, ProviderError, TransientError
from i2kit_aws._clients import Session
from i2kit_aws.settings import Settings

T = TypeVar("T")

LIMITS = CallLimits(attempts=9, first_delay_seconds=0.25, greatest_delay_seconds=20.0)
"""How often one request is made again, and after how long."""

# What AWS calls it when requests come too fast, service by service.
_THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "EC2ThrottledException",
        "SlowDown",
        "PriorRequestNotComplete",
    }
)
# What else passes by itself.
_PASSING = frozenset(
    {
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
        "ConcurrentLimitExceededException",
        "ConcurrentModification",
        "ConcurrentModificationException",
        "ResourceContention",
    }
)
_TOO_MANY_REQUESTS = 429
# No answer, or half of one: nobody knows whether the request had its effect.
_LOST = (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError, ResponseParserError)
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_UNKNOWN = frozenset({"AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"})
FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
"""AWS's codes for what the credentials do not allow."""
_LACKING = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.MetadataRetrievalError,
    botocore.exceptions.RefreshWithMFAUnsupportedError,
    botocore.exceptions.SSOError,
    botocore.exceptions.TokenRetrievalError,
)
_CREDENTIALS = "configure them as for the aws command: environment variables, a profile (aws configure, aws sso login), or an instance role"


class AwsError(ProviderError):
    """AWS refused a request; `code` is its own word for why."""

    code: str = ""


@frozen(kw_only=True)
class _Sessions:
    """The session that requests are made in at present, and whose account it is: once that is known it stays."""

    settings: Settings
    lock: threading.RLock = field(factory=threading.RLock)
    asking: threading.RLock = field(factory=threading.RLock)
    present: list[Session] = field(factory=list)
    caller: list[tuple[str, str]] = field(factory=list)

    def session(self) -> Session:
        """Return the session. Raises `BotoCoreError` when the configuration is wrong."""
        with self.lock:
            if not self.present:
                self.present.append(Session.begin(self.settings))
            return self.present[0]

    def end(self, session: Session) -> None:
        """Begin another session with the next request, unless somebody else has done so."""
        with self.lock:
            self.present[:] = [one for one in self.present if one is not session]

    def close(self) -> None:
        """Close the connections; another request would begin another session."""
        with self.lock:
            for session in self.present:
                session.close()
            self.present.clear()


@frozen(kw_only=True)
class Gateway:
    """Makes requests to one account and region; `context` is the change they belong to, which can stop between tries."""

    settings: Settings
    sessions: _Sessions = field(repr=False)
    retries: Retries = field(repr=False)
    context: Context | None = field(default=None, repr=False)

    @classmethod
    def connect(cls, settings: Settings) -> Gateway:
        """Return a gateway; nothing is asked yet."""
        # AWS counts each kind of request by itself, for all who use the account in the region.
        return cls(settings=settings, sessions=_Sessions(settings=settings), retries=Retries(LIMITS, clock=SystemClock(), paced=True))

    def during(self, context: Context) -> Gateway:
        """Return the same gateway for the requests of one change."""
        return evolve(self, context=context)

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a request, such as ``call("ec2", "CreateVpc", CidrBlock=...)``.

        What passes by itself is tried again, and so is once what credentials were too old for. Raises `AwsError` when AWS refuses it,
        `TransientError` when it never got through, `MissingCredentials` when nobody is known to be asking.
        """
        about = f"{service}:{operation}"
        renewed = False

        def one_try() -> dict[str, Any]:
            nonlocal renewed
            session = None
            try:
                session = self.sessions.session()
                return session.request(service, operation, parameters)
            except ClientError as error:
                if renewed or session is None or _code(error) not in _EXPIRED:
                    raise _refused(about, operation, error) from error
                renewed = True
                # Whoever renewed them meanwhile has left the new ones where AWS's chain looks.
                self.sessions.end(session)
                if operation != "GetCallerIdentity":
                    self._is_the_same_account()
                raise TransientError.of("aws-credentials", f"{about}: {_words(error)}", hint=_CREDENTIALS) from error
            except (BotoCoreError, ResponseParserError) as error:
                raise _failed(about, error) from error

        return self.retries.call(about, one_try, context=self.context)

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        """Yield the items under `key` of all pages of an answer."""
        wanted: dict[str, Any] = {}
        while True:
            answer = self.call(service, operation, **parameters | wanted)
            yield from answer.get(key) or ()
            tokens = self.sessions.session().tokens(service, operation)
            more = {given: answer[told] for given, told in tokens if answer.get(told)}
            if not more:
                return
            if more == wanted:
                raise ProviderError.of("aws-refused", f"{service}:{operation}: the page after this one is this one")
            wanted = more

    def endpoint(self, service: str) -> dict[str, str]:
        """Return where a service is asked (``endpoint``), and, where that is no address of AWS's own, whom to trust (``ca``, as PEM)."""
        try:
            session = self.sessions.session()
            url = str(session.client(service).meta.endpoint_url)
        except BotoCoreError as error:
            raise _failed(service, error) from error
        authorities = session.authorities
        if authorities is None or (urlsplit(url).hostname or "").endswith(_AWS_DOMAINS):
            return {"endpoint": url}
        return {"endpoint": url, "ca": Path(authorities).read_text()}

    @property
    def account(self) -> str:
        """The account's number."""
        return self._caller()[0]

    @property
    def partition(self) -> str:
        """The part of AWS that the account is in: ``aws``, ``aws-cn``, ``aws-us-gov``."""
        return self._caller()[1]

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

    @property
    def closed(self) -> bool:
        """Whether nobody wants anything any more: who waits may stop."""
        return self.retries.closed

    def close(self) -> None:
        """Let requests that wait to be made again fail, and close the connections."""
        self.retries.close()
        self.sessions.close()

    def _caller(self) -> tuple[str, str]:
        with self.sessions.asking:
            if not self.sessions.caller:
                self.sessions.caller.append(self._ask_caller())
            return self.sessions.caller[0]

    def _ask_caller(self) -> tuple[str, str]:
        answer = self.call("sts", "GetCallerIdentity")
        return str(answer["Account"]), str(answer["Arn"]).split(":")[1]

    def _is_the_same_account(self) -> None:
        known = [*(number for number, _ in self.sessions.caller), self.settings.account]
        if (before := known[0]) and (now := self._ask_caller()[0]) != before:
            message = f"the credentials expired, and those that took their place are for account {now} instead of {before}"
            raise ProviderError.of("aws-account", message, hint="run the same command again with credentials of that account")


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


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _words(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message") or error)


def _refused(about: str, operation: str, error: ClientError) -> ProviderError:
    """Return AWS's refusal as i2kit's error."""
    code, told = _code(error), error.response.get("ResponseMetadata", {})
    if error.operation_name != operation:
        # The chain asked for credentials, and got none: a role that is not for this user, a session that has ended.
        return MissingCredentials.of("aws-credentials", f"{error.operation_name}: {code}: {_words(error)}", hint=_CREDENTIALS)
    if code in _EXPIRED or code in _UNKNOWN:
        return MissingCredentials.of("aws-credentials", f"{about}: {code}: {_words(error)}", hint=_CREDENTIALS)
    status = told.get("HTTPStatusCode", 0)
    throttled = code in _THROTTLED or status == _TOO_MANY_REQUESTS
    if throttled or code in _PASSING or status >= 500:
        passing = TransientError.of("aws-unavailable", f"{about}: {code}: {_words(error)}")
        asked = str(told.get("HTTPHeaders", {}).get("retry-after", ""))
        passing.retry_after = float(asked) if asked.isdecimal() else None
        passing.throttled = throttled
        return passing
    hint = "docs/providers/aws-policy.md has the policy that i2kit needs" if code in FORBIDDEN else ""
    made = AwsError(Problem(code="aws-refused", message=f"{about}: {code}: {_words(error)}", hint=hint))
    made.code = code
    return made


def _failed(about: str, error: Exception) -> ProviderError:
    """Say what went wrong on this side of AWS, or on the way there."""
    if isinstance(error, _LOST):
        return TransientError.of("aws-unreachable", f"{about}: {error}")
    if isinstance(error, ParamValidationError):
        return ProviderError.of("aws-refused", f"{about}: {error}")
    if isinstance(error, _LACKING):
        return MissingCredentials.of("aws-credentials", f"{about}: {error}", hint=_CREDENTIALS)
    return ProviderError.of("aws-configuration", f"{about}: {error}", hint="see the environment's AWS_ variables and ~/.aws/config")
