"""
What an object store's refusals mean, in one line for people.

The texts that come back hold addresses with signatures, request ids and a page of debugging;
only the provider's own code and sentence are taken from them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stilt.errors import MissingObjectError, StoreError, StoreFullError, StoreUnavailableError
from stilt.storage.address import NAMES, VARIABLES
from stilt.storage.secrets import without_secrets

if TYPE_CHECKING:
    from stilt.storage.address import Address

_GONE = re.compile(
    r"NoSuchBucket|ContainerNotFound|ContainerBeingDeleted|(?:bucket|container) does not exist", re.IGNORECASE
)
_CODE = re.compile(r"<Code>([A-Za-z0-9_]{1,60})</Code>")
_MESSAGE = re.compile(r"<Message>([^<\n]{1,160})")
_STATUS = re.compile(r"status code: (\d{3})")
_URL = re.compile(r"https?://[^\s\"',]+")
_NO_CREDENTIALS = re.compile(
    r"169\.254\.169\.254|169\.254\.170|token request|metadata\.google|MissingAccount"
    r"|Account must be specified|NoCredentials|InvalidAccessKey\b|Invalid Access Key|[Cc]redential error"
)
_REFUSED = re.compile(
    r"status code: 40[13]|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed"
    r"|AuthorizationFailure|AuthorizationPermissionMismatch"
)
_FULL = re.compile(r"StorageFull|QuotaExceeded|AccountIsFull|InsufficientStorage|status code: 507")
_LOST = re.compile(r"HTTP error|error sending request|status code: (?:408|429|500|502|503|504)")
_REGION = re.compile(r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|code: 301")


def is_gone(text: str) -> bool:
    """Whether a refusal says that the bucket itself does not exist."""
    return bool(_GONE.search(text))


def explain(error: Exception, address: Address, action: str, key: str = "") -> StoreError:
    """
    Turn trouble of an object store into one line with the address and the remedy.

    Parameters
    ----------
    error : exception
        What obstore raised.
    address : Address
        The output root.
    action : str
        What was tried: ``read``, ``write``, ``delete``, ``list`` or ``open``.
    key : str
        Which object.

    Returns
    -------
    StoreError
        Chained to a cause without credentials.
    """
    if isinstance(error, StoreError):
        return error
    text = str(error)
    where = f"{address}/{key}" if key else str(address)
    name, variables = NAMES[address.scheme], VARIABLES[address.scheme]
    said = _said(text)
    kind = "container" if address.scheme == "az" else "bucket"
    explained: StoreError
    if is_gone(text):
        explained = StoreUnavailableError(
            f"{kind} {address.bucket!r} of {address} does not exist; create it or correct the address."
        )
    elif isinstance(error, FileNotFoundError):
        explained = MissingObjectError(f"{where} does not exist; run the simulation that writes it.")
    elif _FULL.search(text):
        explained = StoreFullError(
            f"no space left to {action} {where} ({said}); free some or choose another place with "
            "--output-dir, then run again."
        )
    elif _NO_CREDENTIALS.search(text):
        explained = StoreUnavailableError(
            f"cannot {action} {where}: no usable credentials for {name} were found; set {variables}."
        )
    elif _REGION.search(text):
        explained = StoreUnavailableError(
            f"cannot {action} {where}: the bucket is in another region ({said}); set AWS_REGION."
        )
    elif _REFUSED.search(text):
        explained = StoreUnavailableError(
            f"{name} refused to {action} {where} ({said}); check the credentials ({variables}) and what they "
            f"may do in this {kind}."
        )
    elif "HTTP error" in text or "error sending request" in text:
        explained = StoreUnavailableError(
            f"cannot {action} {where}: {_host(text)} cannot be reached; check the network and the endpoint "
            f"({variables})."
        )
    else:
        explained = StoreError(f"cannot {action} {where}: {name} answered {said}; try again later.")
    explained.__cause__ = RuntimeError(without_secrets(" ".join(text.split())[:2000]))
    return explained


def may_have_arrived(error: StoreError) -> bool:
    """
    Whether a request may have been carried out although no such answer came back.

    Parameters
    ----------
    error : StoreError
        Made by `explain`.
    """
    text = str(error.__cause__)
    return bool(_LOST.search(text)) and not _NO_CREDENTIALS.search(text)


def _said(text: str) -> str:
    """Take the provider's code and sentence out of a refusal."""
    found = [match.group(1) for match in (_CODE.search(text), _MESSAGE.search(text)) if match]
    status = _STATUS.search(text)
    if not found and status:
        found = [f"status {status.group(1)}"]
    if not found:
        found = [text.partition("Debug source:")[0].partition("http")[0].strip()[:160] or "an error"]
    return without_secrets(": ".join(" ".join(part.split()).rstrip(".") for part in found))


def _host(text: str) -> str:
    match = _URL.search(text)
    parts = urlsplit(match.group(0)) if match else None
    return parts.netloc.rpartition("@")[2] if parts and parts.netloc else "its server"
