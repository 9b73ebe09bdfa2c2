"""Keeps credentials out of whatever people may see or share: messages, logs, records."""

from __future__ import annotations

import re

# user:password@ in addresses; signatures in addresses; key=value and key: value of the usual names
_SECRETS = (
    (re.compile(r"([A-Za-z][\w+.-]*://)[^/\s@]*@"), r"\1***@"),
    (
        re.compile(
            r"(?i)((?:\bsig|[?&](?:sas|x-amz-[a-z-]+|x-goog-[a-z-]+|awsaccesskeyid|signature))=)[^&\s\"',;)]+"
        ),
        r"\1***",
    ),
    (re.compile(r"(?i)\b(authorization\b\W{1,4})(?:\w[\w-]* )?[^\s\"',]+"), r"\1***"),
    (
        re.compile(
            r"(?i)\b([\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key|account[_-]?key|private[_-]?key"
            r"|access[_-]?key(?:[_-]id)?))([\"']?\s*[=:]\s*)\S+"
        ),
        r"\1\2***",
    ),
)


def without_secrets(text: str) -> str:
    """
    Blank whatever looks like a credential.

    Parameters
    ----------
    text : str
        A message, a log or a traceback.

    Returns
    -------
    str
        The text with ``***`` in place of passwords, keys, tokens and signatures.

    Examples
    --------
    >>> without_secrets("cannot reach postgresql://me:hush@db/stilt")
    'cannot reach postgresql://***@db/stilt'
    >>> without_secrets("GET https://x.blob.core.windows.net/c/a?sv=2021&sig=hu%2Fsh&se=1")
    'GET https://x.blob.core.windows.net/c/a?sv=2021&sig=***&se=1'
    """
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
