"""Settings, from the environment or a `.env` file: one frozen object, built once. Every name has the prefix IMAGE_SERVICE_."""

from __future__ import annotations

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """How this installation is set up. Units are in the names."""

    model_config = SettingsConfigDict(env_prefix="IMAGE_SERVICE_", env_file=".env", extra="ignore", frozen=True)

    # Where things are
    data_dir: Path = Field(
        Path(".data"), description="Folder of everything the service keeps: machines, disks, the SQLite file."
    )
    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("IMAGE_SERVICE_DATABASE_URL", "DATABASE_URL"),
        description="postgres://… ; without it SQLite in the data folder.",
    )

    # Who can reach it
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0: any free one.")
    public_url: str | None = Field(None, description="Where clients reach the service, if not at host and port.")
    allowed_origins: tuple[str, ...] = Field((), description="Origins of front-ends that may call from a browser.")

    # Machines
    accelerator: Literal["auto", "kvm", "tcg"] = Field(
        "auto", description="auto: KVM where a probe machine boots with it."
    )
    machine_host: str = Field("127.0.0.1", description="Address that forwarded guest ports are bound to.")
    restrict_network: bool = Field(
        False,
        description="Cut guests off from the host's loopback services, and the internet with them; exposed ports stay.",
    )
    max_starting_machines: int = Field(4, ge=1, description="Machines that start at a time.")
    reserve_memory_mib: int = Field(512, ge=0, description="Host memory that machines leave free.")
    reserve_disk_mib: int = Field(
        512,
        ge=0,
        description="Host disk space that machines alone use up; an eighth as much is set aside for the service's own records.",
    )
    stop_timeout_s: float = Field(30.0, gt=0, description="How long a guest may take to switch itself off.")

    # Upkeep
    upkeep_percent: int = Field(
        50, ge=0, le=100, description="Share of time for checksums, looks at old bytes and short chains; 0: none of it."
    )
    scrub_every_h: float = Field(168.0, gt=0, description="How old the last look at stored bytes may be.")
    max_layers: int = Field(64, ge=2, description="Layers that a disk may stand on before its chain is shortened.")

    # Limits
    operation_timeout_s: float = Field(30.0, gt=0, description="Longest query or mutation.")

    max_upload_gib: int = Field(128, ge=1, description="Largest file that can be uploaded or fetched.")
    upload_kept_h: float = Field(
        24.0, gt=0, description="How long an upload is kept after its last byte, if no image is made of it."
    )
    fetch_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Private networks from which files may be fetched, too; public addresses always."
    )
    export_kept_h: float = Field(24.0, gt=0, description="How long an exported image can be fetched.")

    # Object storage
    s3_endpoint: str | None = Field(
        None,
        description="Object storage (S3, OBS, MinIO) for exports and imports, as https://HOST; without it exports lie in the data folder.",
    )
    s3_bucket: str | None = Field(None, description="Its bucket for exports.")
    s3_prefix: str | None = Field(None, description="What all keys of the service begin with, as `images/`.")
    s3_region: str = Field("us-east-1", description="Region that requests are signed for, as eu-de.")
    s3_access_key_id: str | None = Field(None, description="Key of the object storage.")
    s3_secret_access_key: SecretStr | None = Field(None, description="Its secret.")
    s3_virtual_hosted: bool = Field(False, description="Name buckets in the host and not in the path, as OBS prefers.")
    s3_allow_http: bool = Field(False, description="Reach the object storage without TLS, too.")
    s3_import_places: tuple[str, ...] = Field(
        (),
        description="Where projects import from (`s3://…`), as BUCKET/PREFIX/ with {project} for the project's id; "
        "if not said, imports/{project}/ of the bucket.",
    )

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least serious line to log.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: for people on a terminal, else one JSON object a line."
    )

    @cached_property
    def is_sqlite(self) -> bool:
        """Whether the database is a file in the data folder."""
        return self.database_url is None

    @cached_property
    def records_reserve_bytes(self) -> int:
        """Set aside for the service's own records: see app.reserve."""
        return self.reserve_disk_mib << 17
