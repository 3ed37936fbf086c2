"""One request by boto3 or by libcloud, whose answers look the same. Private to the gateway."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import boto3
import botocore.loaders
import botocore.session
from attrs import field, frozen
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, InvalidConfigError, NoCredentialsError
from botocore.parsers import create_parser
from botocore.validate import validate_parameters

from i2kit import __version__
from i2kit_aws.settings import Settings

AGENT = f"i2kit/{__version__}"
"""By which AWS's own logs tell i2kit's requests from others of the same user."""

# The gateway makes requests again.
_CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60, max_pool_connections=32, user_agent_extra=AGENT)
# What of an answer goes into the request for the next page, where botocore does not say.
_TOKENS = {
    ("route53", "ListHostedZonesByName"): (("DNSName", "NextDNSName"), ("HostedZoneId", "NextHostedZoneId")),
    ("route53", "ListHostedZonesByVPC"): (("NextToken", "NextToken"),),
}


@functools.cache
def _models() -> Any:
    """Return what reads the services' models, which is most of what making a client takes, once in a process."""
    return botocore.loaders.create_loader()


@frozen(kw_only=True, eq=False)
class Session:
    """Credentials, and the clients that have them, made once each and shared by all threads."""

    settings: Settings
    core: botocore.session.Session
    boto: boto3.session.Session
    lock: threading.RLock = field(factory=threading.RLock)
    clients: dict[str, Any] = field(factory=dict)
    threads: threading.local = field(factory=threading.local)

    @classmethod
    def begin(cls, settings: Settings) -> Session:
        """Return a session; it finds its credentials when they are needed, and renews those that it can. Raises `BotoCoreError`."""
        core = botocore.session.Session(profile=settings.profile)
        core.register_component("data_loader", _models())
        return cls(settings=settings, core=core, boto=boto3.session.Session(botocore_session=core, region_name=settings.region))

    def request(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the answer as boto3 gives it. Raises `ClientError`, `BotoCoreError`, and what libraries for HTTP raise."""
        if service == "ec2":
            # Loaded by those who need it.
            from i2kit_aws import _libcloud

            if method := _libcloud.carried(operation, parameters):
                return self._carried(operation, parameters, method)
        return dict(getattr(self.client(service), xform_name(operation))(**parameters))

    def client(self, service: str) -> Any:
        """Return the service's client. Raises `BotoCoreError`."""
        # Making clients is not thread-safe; using them is.
        with self.lock:
            if service not in self.clients:
                try:
                    self.clients[service] = self.boto.client(service, config=_CONFIG)
                except ValueError as error:
                    raise InvalidConfigError(error_msg=str(error)) from error
            return self.clients[service]

    def tokens(self, service: str, operation: str) -> tuple[tuple[str, str], ...]:
        """Return what of an answer, where there is more, goes into the next request: pairs of parameter and answer's field."""
        with self.lock:
            known = self.core.get_paginator_model(service)
        try:
            page = known.get_paginator(operation)
        except ValueError:
            return _TOKENS.get((service, operation), ())
        given, told = (one if isinstance(one, list) else [one] for one in (page["input_token"], page["output_token"]))
        return tuple(zip(given, (name.split(" || ")[0] for name in told), strict=True))

    @property
    def authorities(self) -> str | None:
        """The file of certificates to trust instead of those that come with the library, where the user says so."""
        bundle = self.core.get_config_variable("ca_bundle")
        return None if bundle is None else str(bundle)

    def close(self) -> None:
        """Close the connections."""
        with self.lock:
            for client in self.clients.values():
                client.close()
            self.clients.clear()

    def _carried(self, operation: str, parameters: dict[str, Any], method: Callable[[Any], object]) -> dict[str, Any]:
        """Let libcloud make a request; what goes out and what comes back is held against botocore's model, as for any other."""
        from i2kit_aws import _libcloud

        client = self.client("ec2")
        model = client.meta.service_model.operation_model(operation)
        validate_parameters(parameters, model.input_shape)
        try:
            answer = _libcloud.ask(self.threads, self._access(client), method)
        except _libcloud.LOST as error:
            raise HTTPClientError(error=error) from error
        told = {"status_code": answer.status, "headers": dict(answer.headers), "body": answer.body}
        parsed: dict[str, Any] = create_parser("ec2").parse(told, model.output_shape)
        if answer.status >= 300:
            raise ClientError(parsed, operation)
        return parsed

    def _access(self, client: Any) -> Any:
        """Return where the client would ask, and as whom."""
        from i2kit_aws import _libcloud

        credentials = self.core.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        own = credentials.get_frozen_credentials()
        return _libcloud.Access(
            url=client.meta.endpoint_url,
            region=client.meta.region_name,
            key=own.access_key,
            secret=own.secret_key,
            token=own.token,
            authorities=self.authorities,
            agent=AGENT,
        )
