"""Files in a bucket of an S3-compatible store (S3, R2, MinIO …), reached by django-storages and boto3."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import quote

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from storages.backends.s3 import S3Storage

from core.storage import Door, StorageUnusable

_MEMORY_BYTES = 1 << 20
_ONE_REQUEST_BYTES = 5_000_000_000  # as large as S3 takes it
_POOL = 32  # a pass of the engine stores by sixteen threads at once
_making = threading.Lock()

_PROBE = "health/probe"  # never stored
_WRONG: dict[str, str] = {
    "NoSuchBucket": "There is no bucket {bucket!r}; make it, or correct S3_BUCKET.",
    "InvalidAccessKeyId": "The store does not know this key; correct S3_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "The store refuses our signature; correct S3_SECRET_ACCESS_KEY.",
    "AccessDenied": "The keys may not use bucket {bucket!r}; let them list it, and get, put and delete objects.",
    "PermanentRedirect": "The bucket {bucket!r} is in another region; correct S3_REGION.",
    "AuthorizationHeaderMalformed": "The bucket {bucket!r} is in another region; correct S3_REGION.",
}


class Bucket(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """settings.S3_BUCKET. One client for all threads: it is thread-safe, and making one takes a tenth of a second."""

    FAILURES = (BotoCoreError, ClientError, Boto3Error)

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **options,
            security_token=None,  # ours are the settings, nothing else of the environment
            querystring_auth=True,
            file_overwrite=False,
            default_acl=None,
            max_memory_size=_MEMORY_BYTES,  # the rest of what is read waits on disk
            # One request, streamed: a part that a killed worker leaves behind is seen by nobody and billed for ever.
            transfer_config=TransferConfig(multipart_threshold=_ONE_REQUEST_BYTES, use_threads=False),
            client_config=Config(
                signature_version="s3v4",
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=_POOL,
                # R2 and others refuse the checksums that boto3 would add of itself.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self._resource: Any = None

    @property
    def connection(self) -> Any:
        if self._resource is None:
            with _making:
                if self._resource is None:
                    self._resource = self._create_session().resource(
                        "s3",
                        region_name=self.region_name,
                        endpoint_url=self.endpoint_url,
                        config=self.client_config,
                    )
        return self._resource

    @property
    def bucket(self) -> Any:
        return self.connection.Bucket(self.bucket_name)  # these, unlike clients, are not thread-safe

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    def link(self, key: str, *, filename: str | None, expires_s: int) -> str:
        named = {"ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(filename)}"} if filename else None
        return str(self.url(key, parameters=named, expire=expires_s))

    def door(self, key: str, *, content_type: str, bytes: int, expires_s: int) -> Door:
        # Type and length are signed: the store refuses a PUT with others.
        named = {"Bucket": self.bucket_name, "Key": key, "ContentType": content_type, "ContentLength": bytes}
        url = self._client.generate_presigned_url("put_object", Params=named, ExpiresIn=expires_s)
        return Door(url, headers={"Content-Type": content_type})

    def check(self) -> None:
        # A HEAD would say nothing but a number: the reason stands in the body of the answer.
        try:
            self._client.get_object(Bucket=self.bucket_name, Key=_PROBE)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "NoSuchKey":
                return
            said = _WRONG.get(code, "The store refuses to be read: {code}.")
            raise StorageUnusable(said.format(bucket=self.bucket_name, code=code)) from error
        except NoCredentialsError as error:
            message = "There are no keys for the store; set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY."
            raise StorageUnusable(message) from error
        except BotoCoreError as error:
            place = self.endpoint_url or "S3"
            message = f"No store answers at {place} ({type(error).__name__}); correct S3_ENDPOINT_URL."
            raise StorageUnusable(message) from error

    def make(self) -> bool:
        if not self.endpoint_url:
            return False  # at Amazon a bucket has a region, an owner and a policy: its operator makes it
        try:
            self._client.head_bucket(Bucket=self.bucket_name)
            return False
        except (ClientError, BotoCoreError):
            pass
        try:
            self._client.create_bucket(Bucket=self.bucket_name)
            return True
        except (ClientError, BotoCoreError):
            return False  # check says why, in the words of its operator
