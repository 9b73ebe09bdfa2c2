"""
Addresses of object stores, and the clients that reach them.

::

    s3://bucket/prefix      Amazon S3 and what speaks its language     AWS_*
    gs://bucket/prefix      Google Cloud Storage                       GOOGLE_*, STORAGE_EMULATOR_HOST
    az://container/prefix   Azure Blob Storage                         AZURE_*

Credentials and endpoints come from the environment that the providers' own tools use, and
never from an address, which is shown, stored and shared.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stilt.errors import MissingExtraError, StoreError
from stilt.storage.layout import check_key
from stilt.storage.secrets import without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or AZURE_STORAGE_CONNECTION_STRING)",
}

_bucket_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}").fullmatch

_AMAZON = re.compile(r"(?:s3[a-z0-9.-]*\.amazonaws\.com(?:\.cn)?)?").fullmatch
_AZURE = re.compile(r"([a-z0-9]+)\.blob\.core\.windows\.net").fullmatch

_CONNECT = timedelta(seconds=5)
_REQUEST = timedelta(minutes=5)


@dataclass(frozen=True)
class Patience:
    """
    How long a client goes on trying.

    Parameters
    ----------
    retries : int
        How often a request is repeated.
    total : timedelta
        Time after which it is not repeated any more.
    """

    retries: int
    total: timedelta


FIRST_CONTACT = Patience(3, timedelta(seconds=10))
"""Before anything was answered: more likely a wrong address than a hiccup."""

AT_WORK = Patience(10, timedelta(minutes=2))
"""Once the store has answered: hours of work are worth waiting out a hiccup."""

ONCE = Patience(0, timedelta(0))
"""For requests whose repetition means something else than the first."""


@dataclass(frozen=True)
class Address:
    """
    Address of an output root in an object store.

    Parameters
    ----------
    scheme : {"s3", "gs", "az"}
        Kind of store.
    bucket : str
        Bucket or container.
    prefix : str
        Where in it, without slashes at the ends; may be empty.
    """

    scheme: str
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """
        Read an address.

        Parameters
        ----------
        text : str
            Such as ``s3://bucket/some/prefix``.

        Raises
        ------
        StoreError
            When it has no bucket, or holds a user name, a query or steps upward.

        Examples
        --------
        >>> Address.parse("S3://bucket/a/b/")
        Address(scheme='s3', bucket='bucket', prefix='a/b')
        """
        scheme, _, rest = text.partition("://")
        scheme = scheme.lower()
        bucket, _, prefix = rest.partition("/")
        prefix = prefix.rstrip("/")
        shown = without_secrets(text)
        if "@" in bucket:
            raise StoreError(
                f"{shown} holds credentials; give them in the environment ({VARIABLES[scheme]})."
            )
        if not _bucket_name(bucket):
            raise StoreError(f"{shown} names no bucket; write {scheme}://bucket/folder.")
        if "?" in prefix or "#" in prefix:
            raise StoreError(f"{shown} holds a query; write {scheme}://bucket/folder.")
        if prefix:
            try:
                check_key(prefix)
            except StoreError as error:
                raise StoreError(
                    f"{shown} is no place for outputs; write {scheme}://bucket/folder."
                ) from error
        return cls(scheme, bucket, prefix)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def key_prefix(self) -> str:
        """What comes before each key in the bucket; empty or with a closing ``/``."""
        return self.prefix and self.prefix + "/"

    def identity(self, environment: Mapping[str, str] | None = None) -> str:
        """
        Tell this output root from those of the same address at another endpoint or account.

        Parameters
        ----------
        environment : mapping, optional
            Default: that of the process.

        Returns
        -------
        str
            The address; followed by ``@`` and the account of Azure, or by ``@`` and host, port and
            path of an endpoint that is not the provider's own. Never a credential.

        Examples
        --------
        >>> Address.parse("s3://bucket/a").identity({"AWS_ENDPOINT_URL": "http://minio:9000"})
        's3://bucket/a@minio:9000'
        >>> Address.parse("az://container/a").identity({"AZURE_STORAGE_ACCOUNT_NAME": "lab"})
        'az://container/a@lab'
        """
        found = os.environ if environment is None else environment
        where = {"s3": _s3_place, "gs": _gs_place, "az": _az_place}[self.scheme](found)
        return f"{self}@{where}" if where else str(self)

    def connect(self, patience: Patience, environment: Mapping[str, str] | None = None) -> Any:
        """
        Make a client; nobody is asked yet.

        Parameters
        ----------
        patience : Patience
            How long it tries.
        environment : mapping, optional
            Default: that of the process.

        Returns
        -------
        obstore.store.ObjectStore
            The client.
        """
        from obstore.store import AzureStore, GCSStore, S3Store

        found = os.environ if environment is None else environment
        config, endpoint = {"s3": _s3, "gs": _gs, "az": _az}[self.scheme](found)
        options: dict[str, Any] = {"connect_timeout": _CONNECT, "timeout": _REQUEST}
        if endpoint.startswith("http://"):
            options["allow_http"] = True
        retry = {
            "max_retries": patience.retries,
            "retry_timeout": patience.total,
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=10),
                "base": 2,
            },
        }
        make: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[self.scheme]
        return make(self.bucket, client_options=options, retry_config=retry, **config)


def _bare(endpoint: str) -> str:
    """Host, port and path of an endpoint, as everyone spells them; nothing that could be a credential."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    host = parts.netloc.rpartition("@")[2].lower().removesuffix({"http": ":80"}.get(parts.scheme, ":443"))
    return host + parts.path.rstrip("/")


def _s3_endpoint(found: Mapping[str, str]) -> str:
    return found.get("AWS_ENDPOINT_URL_S3") or found.get("AWS_ENDPOINT_URL") or ""


def _s3_place(found: Mapping[str, str]) -> str:
    place = _bare(_s3_endpoint(found))
    # names of buckets are unique in all of Amazon's regions, however its endpoint is written
    return "" if _AMAZON(place) else place


def _gs_place(found: Mapping[str, str]) -> str:
    place = _bare(found.get("STORAGE_EMULATOR_HOST") or found.get("GOOGLE_BASE_URL") or "")
    return "" if place == "storage.googleapis.com" else place


def _az_place(found: Mapping[str, str]) -> str:
    config, _ = _az(found)
    account = str(config.get("account_name", ""))
    place = _bare(str(config.get("endpoint", "")))
    named = _AZURE(place)
    if named:
        return named[1]
    if not place and found.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true"):
        place = "emulator"
    return "/".join(part for part in (place, account) if part and not place.endswith(f"/{part}"))


def _s3(found: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    config: dict[str, Any] = {}
    endpoint = _s3_endpoint(found)
    if endpoint:
        config["endpoint"] = endpoint
    region = found.get("AWS_REGION") or found.get("AWS_DEFAULT_REGION") or ""
    if region:
        config["region"] = region
    if not found.get("AWS_ACCESS_KEY_ID") and _has_profile(found):
        config.update(_profile(found, region))
    return config, endpoint


def _has_profile(found: Mapping[str, str]) -> bool:
    """Whether the user keeps credentials in the files of the AWS command line."""
    if found.get("AWS_PROFILE"):
        return True
    files = (
        found.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        found.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    return any(Path(file).expanduser().is_file() for file in files)


def _profile(found: Mapping[str, str], region: str) -> dict[str, Any]:
    try:
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        if not found.get("AWS_PROFILE"):
            return {}
        raise MissingExtraError(
            "AWS_PROFILE is set, and reading profiles needs boto3: pip install boto3, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from error
    try:
        session = boto3.Session(profile_name=found.get("AWS_PROFILE") or None)
        given: dict[str, Any] = {"credential_provider": Boto3CredentialProvider(session)}
    except Exception as error:
        if not found.get("AWS_PROFILE"):
            return {}
        raise StoreError(
            f"the AWS profile {found['AWS_PROFILE']!r} cannot be used ({type(error).__name__}); "
            "check AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    if not region and session.region_name:
        given["region"] = session.region_name
    return given


def _gs(found: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    emulator = found.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    if emulator:
        emulator = emulator if "://" in emulator else f"http://{emulator}"
        nobody = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        key = {"gcs_base_url": emulator, "disable_oauth": True, **nobody}
        return {"service_account_key": json.dumps(key)}, emulator
    return {}, found.get("GOOGLE_BASE_URL", "")


def _az(found: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    parts: dict[str, str] = {}
    for part in found.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";"):
        name, _, value = part.partition("=")
        parts[name.strip().lower()] = value.strip()
    config: dict[str, Any] = {}

    def take(setting: str, in_string: str, *variables: str) -> None:
        value = next((found[name] for name in variables if found.get(name)), "") or parts.get(in_string, "")
        if value:
            config[setting] = value

    take("account_name", "accountname", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
    take("account_key", "accountkey", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY")
    take("sas_key", "sharedaccesssignature", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY")
    take("endpoint", "blobendpoint", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
    if "account_name" in config and "endpoint" not in config and parts.get("endpointsuffix"):
        config["endpoint"] = f"https://{config['account_name']}.blob.{parts['endpointsuffix']}"
    endpoint = config.get("endpoint", "")
    if not endpoint and found.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true"):
        endpoint = "http://"
    return config, endpoint
