"""Addresses of object stores, what the environment says about them, and what their refusals mean."""

from __future__ import annotations

import json
import pickle
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stilt.config import ModelConfig, RuntimeSettings
from stilt.errors import MissingObjectError, StoreError, StoreFullError, StoreUnavailableError
from stilt.model import Model
from stilt.storage import LocalStore, open_store
from stilt.storage.address import Address, _az, _gs, _s3
from stilt.storage.layout import check_key, check_sim_id, footprint_key, trajectory_key
from stilt.storage.secrets import without_secrets
from stilt.storage.trouble import explain

ADDRESS = Address.parse("s3://bucket/project")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("s3://bucket", ("s3", "bucket", "")),
        ("S3://bucket/", ("s3", "bucket", "")),
        ("gs://my_bucket.org/a/b//", ("gs", "my_bucket.org", "a/b")),
        ("az://container/é ü/x", ("az", "container", "é ü/x")),
    ],
)
def test_addresses_are_read_one_way(text, parts):
    address = Address.parse(text)
    assert (address.scheme, address.bucket, address.prefix) == parts
    assert Address.parse(str(address)) == address
    assert open_store(text) == pickle.loads(pickle.dumps(open_store(text)))


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3:///a",
        "s3://b",
        "s3://a b/c",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "s3://bucket/a?x=1",
        "az://container/a#b",
        "s3://key:hush@bucket/a",
        "gs://bucket/a\\b",
        "gs://bucket/a\nb",
    ],
)
def test_what_is_no_address_is_refused_without_showing_secrets(text):
    with pytest.raises(StoreError) as caught:
        open_store(text)
    assert "hush" not in str(caught.value)


def test_the_usual_variables_are_understood():
    config, endpoint = _s3(
        {"AWS_ACCESS_KEY_ID": "x", "AWS_ENDPOINT_URL": "http://e", "AWS_DEFAULT_REGION": "r"}
    )
    assert (config, endpoint) == ({"endpoint": "http://e", "region": "r"}, "http://e")
    text = "AccountName=me;AccountKey=a2V5PT0=;EndpointSuffix=core.chinacloudapi.cn"
    config, endpoint = _az({"AZURE_STORAGE_CONNECTION_STRING": text})
    assert config["account_key"] == "a2V5PT0="
    assert endpoint == "https://me.blob.core.chinacloudapi.cn"
    config, _ = _az({"AZURE_STORAGE_ACCOUNT": "me", "AZURE_STORAGE_KEY": "k", "AZURE_STORAGE_SAS_TOKEN": "s"})
    assert config == {"account_name": "me", "account_key": "k", "sas_key": "s"}
    config, endpoint = _gs({"STORAGE_EMULATOR_HOST": "127.0.0.1:1"})
    assert endpoint == "http://127.0.0.1:1"
    assert json.loads(config["service_account_key"])["gcs_base_url"] == endpoint
    assert _gs({}) == ({}, "")


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            "404 Not Found: <Error><Code>NoSuchBucket</Code>",
            StoreUnavailableError,
            "does not exist; create it",
        ),
        ("status code: 507 <Code>XMinioStorageFull</Code>", StoreFullError, "no space left"),
        (
            "Error performing token request: GET http://169.254.169.254/x",
            StoreUnavailableError,
            "no usable cred",
        ),
        (
            "status code: 403 Forbidden: <Code>SignatureDoesNotMatch</Code><Message>The request</Message>",
            StoreUnavailableError,
            "SignatureDoesNotMatch: The request",
        ),
        (
            "Error performing GET https://k:hush@host.example:9/b?X-Amz-Signature=hush&a=1 - HTTP error: x",
            StoreUnavailableError,
            "host.example:9 cannot be reached",
        ),
        ("status code: 301 <Code>PermanentRedirect</Code>", StoreUnavailableError, "AWS_REGION"),
        (
            "status code: 500 <Code>InternalError</Code><Message>Oops.</Message>",
            StoreError,
            "InternalError: Oops",
        ),
    ],
)
def test_refusals_are_told_in_one_line_without_secrets(text, kind, words):
    told = explain(RuntimeError(text + "\n\nDebug source: Generic { sig=hush }"), ADDRESS, "read", "a/b")
    assert type(told) is kind
    assert words in str(told)
    assert "\n" not in str(told)
    assert "hush" not in str(told) + str(told.__cause__)
    assert "bucket" in str(told)


def test_a_missing_object_is_a_missing_file():
    told = explain(FileNotFoundError("Object at location a not found: 404"), ADDRESS, "read", "a")
    assert isinstance(told, MissingObjectError)


@pytest.mark.parametrize(
    "text",
    [
        "AccountKey=hushhush==;x",
        "https://a.blob.core.windows.net/c?sv=1&sig=hu%2Fsh%3D",
        "AWS_SECRET_ACCESS_KEY=hush",
        '{"private_key": "hush"}',
        "Authorization: AWS4-HMAC-SHA256 Credential=hush/2020",
        "Authorization: Bearer hush",
        "postgresql://me:hush@db/x",
        "X-Amz-Security-Token=hush",
    ],
)
def test_credentials_are_blanked(text):
    assert "hush" not in without_secrets(text)


NASTY = st.text(alphabet=st.sampled_from(string.ascii_letters + "/\\.. '\"\n\r\t\0:%?#*é日~-_+"), max_size=30)


@settings(max_examples=300, deadline=None)
@given(NASTY)
def test_no_name_escapes_its_key(text):
    """Whatever is accepted stays below the root, as one object; everything else is refused."""
    root = LocalStore("/srv/outputs")
    for make in (
        check_key,
        lambda name: check_key(f"a/{name}"),
        lambda name: trajectory_key(check_sim_id(name)),
        lambda name: footprint_key("a_1", name),
    ):
        try:
            key = make(text)
        except (StoreError, ValueError):
            continue
        path = root.local_path(key)
        assert path.is_relative_to(root.root)
        assert path != root.root
        assert ".." not in path.parts
        assert path.relative_to(root.root).as_posix() == key


@settings(max_examples=200, deadline=None)
@given(NASTY)
def test_keys_that_are_accepted_mean_the_same_to_every_store(text):
    """What obstore could not write as it stands is refused before it is tried."""
    import obstore
    from obstore.store import MemoryStore

    try:
        key = check_key(f"a/{text}")
    except StoreError:
        return
    bucket = MemoryStore()
    obstore.put(bucket, key, b"1")
    assert [entry["path"] for page in obstore.list(bucket) for entry in page] == [key]


@pytest.mark.parametrize(
    ("text", "environment", "identity"),
    [
        ("s3://bucket/a", {}, "s3://bucket/a"),
        ("s3://bucket/a", {"AWS_ENDPOINT_URL": "https://s3.eu-west-1.amazonaws.com"}, "s3://bucket/a"),
        ("s3://bucket/a", {"AWS_ENDPOINT_URL": "http://me:hush@MinIO:9000/"}, "s3://bucket/a@minio:9000"),
        (
            "s3://bucket/a",
            {"AWS_ENDPOINT_URL": "http://one", "AWS_ENDPOINT_URL_S3": "http://two:80"},
            "s3://bucket/a@two",
        ),
        ("gs://bucket/a", {}, "gs://bucket/a"),
        ("gs://bucket/a", {"STORAGE_EMULATOR_HOST": "localhost:4443"}, "gs://bucket/a@localhost:4443"),
        ("az://box/a", {"AZURE_STORAGE_ACCOUNT_NAME": "lab"}, "az://box/a@lab"),
        (
            "az://box/a",
            {
                "AZURE_STORAGE_CONNECTION_STRING": "AccountName=lab;AccountKey=aHVzaA==;"
                "EndpointSuffix=core.windows.net"
            },
            "az://box/a@lab",
        ),
        (
            "az://box/a",
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "lab",
                "AZURE_STORAGE_SAS_TOKEN": "sig=hush",
                "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:10000/lab?sig=hush",
            },
            "az://box/a@127.0.0.1:10000/lab",
        ),
    ],
)
def test_an_output_root_is_told_from_its_namesakes_without_credentials(text, environment, identity):
    assert Address.parse(text).identity(environment) == identity


def test_namesakes_at_different_endpoints_do_not_share_a_queue(monkeypatch):
    runtime = RuntimeSettings(db_url="memory://namesakes")
    config = ModelConfig(mets={"hrrr": {"directory": "met", "file_format": "%Y"}})
    scopes = set()
    for endpoint in ("http://one:9000", "http://two:9000", ""):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        scopes.add(Model("s3://bucket/project", config=config, runtime=runtime).queue.project)
    assert len(scopes) == 3
