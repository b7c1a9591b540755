"""The domain's closed sets of words. A word is added when it works; a client treats one it does not know as "other"."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Why something was refused or failed. Codes are API: they are added, never renamed."""

    NOT_FOUND = "NOT_FOUND"
    FORBIDDEN = "FORBIDDEN"
    INVALID_INPUT = "INVALID_INPUT"
    CONFLICT = "CONFLICT"
    INVALID_STATE = "INVALID_STATE"
    BUSY = "BUSY"
    PROTECTED = "PROTECTED"
    NAME_TAKEN = "NAME_TAKEN"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    UNSUPPORTED = "UNSUPPORTED"
    IDEMPOTENCY_MISMATCH = "IDEMPOTENCY_MISMATCH"
    NOT_ACTIVE = "NOT_ACTIVE"
    NOT_ACCEPTED = "NOT_ACCEPTED"
    NOT_SHAREABLE = "NOT_SHAREABLE"
    NOT_EXPORTABLE = "NOT_EXPORTABLE"
    NOT_COPYABLE = "NOT_COPYABLE"
    BACKUP_HAS_IMAGE = "BACKUP_HAS_IMAGE"
    WRONG_IMAGE_KIND = "WRONG_IMAGE_KIND"
    BACKUP_UNAVAILABLE = "BACKUP_UNAVAILABLE"
    FLAVOR_ABANDONED = "FLAVOR_ABANDONED"
    FLAVOR_SOLD_OUT = "FLAVOR_SOLD_OUT"
    NO_CAPACITY = "NO_CAPACITY"
    RAM_TOO_SMALL = "RAM_TOO_SMALL"
    RAM_TOO_LARGE = "RAM_TOO_LARGE"
    ARCHITECTURE_MISMATCH = "ARCHITECTURE_MISMATCH"
    DISK_TOO_SMALL = "DISK_TOO_SMALL"
    DISK_TOO_LARGE = "DISK_TOO_LARGE"
    TOO_MANY_DISKS = "TOO_MANY_DISKS"
    USER_DATA_UNSUPPORTED = "USER_DATA_UNSUPPORTED"
    KEY_UNAVAILABLE = "KEY_UNAVAILABLE"
    UPLOAD_INCOMPLETE = "UPLOAD_INCOMPLETE"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    FORMAT_MISMATCH = "FORMAT_MISMATCH"
    UNSAFE_FILE = "UNSAFE_FILE"
    FETCH_FAILED = "FETCH_FAILED"
    DAMAGED = "DAMAGED"
    INSUFFICIENT_STORAGE = "INSUFFICIENT_STORAGE"
    ENGINE_FAILED = "ENGINE_FAILED"
    TIMED_OUT = "TIMED_OUT"
    CANCELLED = "CANCELLED"
    INTERNAL = "INTERNAL"


class WarningCode(StrEnum):
    """What went through, but should be known."""

    CRASH_CONSISTENT = "CRASH_CONSISTENT"
    OS_NOT_DETECTED = "OS_NOT_DETECTED"
    FLAVOR_BEING_RETIRED = "FLAVOR_BEING_RETIRED"


class ImageVisibility(StrEnum):
    """An image as the viewer sees it."""

    PUBLIC = "PUBLIC"
    PRIVATE = "PRIVATE"
    SHARED = "SHARED"


class ImageKind(StrEnum):
    """What an image holds."""

    SYSTEM_DISK = "SYSTEM_DISK"
    DATA_DISK = "DATA_DISK"
    FULL_ECS = "FULL_ECS"
    ISO = "ISO"


class ImageStatus(StrEnum):
    """Where an image is in its life."""

    QUEUED = "QUEUED"
    SAVING = "SAVING"
    IMPORTING = "IMPORTING"
    ACTIVE = "ACTIVE"
    KILLED = "KILLED"


class ImageAction(StrEnum):
    """What somebody may do with an image."""

    UPDATE = "UPDATE"
    TAG = "TAG"
    DELETE = "DELETE"
    SHARE = "SHARE"
    EXPORT = "EXPORT"
    COPY = "COPY"
    LAUNCH = "LAUNCH"
    CREATE_DISK = "CREATE_DISK"
    ACCEPT = "ACCEPT"
    REJECT = "REJECT"


class ImageSourceKind(StrEnum):
    """Where an image came from."""

    ECS = "ECS"
    DISK = "DISK"
    FULL_ECS = "FULL_ECS"
    BACKUP = "BACKUP"
    IMAGE = "IMAGE"
    UPLOAD = "UPLOAD"
    URL = "URL"
    INSTALLED = "INSTALLED"


class DiskFormat(StrEnum):
    """Formats of disk files."""

    QCOW2 = "QCOW2"
    RAW = "RAW"
    VMDK = "VMDK"
    VHD = "VHD"
    VHDX = "VHDX"
    VDI = "VDI"
    QED = "QED"
    QCOW = "QCOW"
    ISO = "ISO"


class ExportFormat(StrEnum):
    """Formats that images are exported to."""

    QCOW2 = "QCOW2"
    RAW = "RAW"
    VMDK = "VMDK"
    VHD = "VHD"
    VHDX = "VHDX"


class HashAlgorithm(StrEnum):
    """How a checksum is worked out."""

    SHA256 = "SHA256"


class UploadProtocol(StrEnum):
    """How the bytes of an upload are sent."""

    TUS = "TUS"


class UploadStatus(StrEnum):
    """Where an upload is in its life."""

    RECEIVING = "RECEIVING"
    COMPLETE = "COMPLETE"
    USED = "USED"
    FAILED = "FAILED"


class BackupStatus(StrEnum):
    """Where a backup is in its life."""

    CREATING = "CREATING"
    AVAILABLE = "AVAILABLE"
    RESTORING = "RESTORING"
    DELETING = "DELETING"
    ERROR = "ERROR"


class BackupAction(StrEnum):
    """What somebody may do with a backup."""

    CREATE_IMAGE = "CREATE_IMAGE"
    RESTORE = "RESTORE"
    DELETE = "DELETE"


class OsType(StrEnum):
    """Families of operating systems that launch rules tell apart."""

    LINUX = "LINUX"
    WINDOWS = "WINDOWS"
    OTHER = "OTHER"


class Architecture(StrEnum):
    """Processor architectures."""

    X86_64 = "X86_64"
    ARM64 = "ARM64"


class Firmware(StrEnum):
    """How a machine boots."""

    BIOS = "BIOS"
    UEFI = "UEFI"


class ShareStatus(StrEnum):
    """What a recipient has made of a share."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"


class ShareOutcome(StrEnum):
    """What became of one pair of image and project."""

    SHARED = "SHARED"
    SHARED_AGAIN = "SHARED_AGAIN"
    ALREADY_MEMBER = "ALREADY_MEMBER"
    REMOVED = "REMOVED"
    NOT_A_MEMBER = "NOT_A_MEMBER"
    REFUSED = "REFUSED"


class EcsStatus(StrEnum):
    """Where an ECS is in its life."""

    BUILD = "BUILD"
    ACTIVE = "ACTIVE"
    SHUTOFF = "SHUTOFF"
    REBOOT = "REBOOT"
    HARD_REBOOT = "HARD_REBOOT"
    ERROR = "ERROR"
    DELETED = "DELETED"


class EcsAction(StrEnum):
    """What somebody may do with an ECS."""

    UPDATE = "UPDATE"
    START = "START"
    STOP = "STOP"
    REBOOT = "REBOOT"
    DELETE = "DELETE"
    CREATE_IMAGE = "CREATE_IMAGE"
    CHANGE_DISKS = "CHANGE_DISKS"
    CREATE_BACKUP = "CREATE_BACKUP"
    RESTORE = "RESTORE"
    READ_CONSOLE = "READ_CONSOLE"


class DiskStatus(StrEnum):
    """Where an EVS disk is in its life."""

    CREATING = "CREATING"
    AVAILABLE = "AVAILABLE"
    ATTACHING = "ATTACHING"
    IN_USE = "IN_USE"
    DETACHING = "DETACHING"
    EXTENDING = "EXTENDING"
    UPLOADING = "UPLOADING"
    RESTORING = "RESTORING"
    DELETING = "DELETING"
    ERROR = "ERROR"


class DiskAction(StrEnum):
    """What somebody may do with an EVS disk."""

    UPDATE = "UPDATE"
    ATTACH = "ATTACH"
    DETACH = "DETACH"
    EXTEND = "EXTEND"
    DELETE = "DELETE"
    CREATE_IMAGE = "CREATE_IMAGE"


class DiskType(StrEnum):
    """Performance classes of EVS disks."""

    SATA = "SATA"
    SAS = "SAS"
    GPSSD = "GPSSD"
    SSD = "SSD"
    ESSD = "ESSD"
    GPSSD2 = "GPSSD2"


class FlavorState(StrEnum):
    """Whether a flavor is sold."""

    NORMAL = "NORMAL"
    ABANDON = "ABANDON"
    SELLOUT = "SELLOUT"
    OBT = "OBT"
    OBT_SELLOUT = "OBT_SELLOUT"
    PROMOTION = "PROMOTION"


class Consistency(StrEnum):
    """How disks sealed at one instant relate to the file systems on them."""

    FILESYSTEM = "FILESYSTEM"
    CRASH = "CRASH"
    STOPPED = "STOPPED"


class ContentState(StrEnum):
    """Whether a disk's content at one instant is there."""

    PENDING = "PENDING"
    SEALED = "SEALED"
    RELEASED = "RELEASED"


class PortProtocol(StrEnum):
    """Transport protocols of an endpoint."""

    TCP = "TCP"


class JobStatus(StrEnum):
    """Where a job is in its life."""

    INIT = "INIT"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"
    CANCELLED = "CANCELLED"


class JobType(StrEnum):
    """Kinds of work that outlast a request."""

    CREATE_IMAGE = "CREATE_IMAGE"
    CREATE_FULL_ECS_IMAGE = "CREATE_FULL_ECS_IMAGE"
    IMPORT_IMAGE = "IMPORT_IMAGE"
    COPY_IMAGE = "COPY_IMAGE"
    EXPORT_IMAGE = "EXPORT_IMAGE"
    DELETE_IMAGE = "DELETE_IMAGE"
    LAUNCH_ECS = "LAUNCH_ECS"
    START_ECS = "START_ECS"
    STOP_ECS = "STOP_ECS"
    REBOOT_ECS = "REBOOT_ECS"
    DELETE_ECS = "DELETE_ECS"
    CREATE_BACKUP = "CREATE_BACKUP"
    RESTORE_BACKUP = "RESTORE_BACKUP"
    DELETE_BACKUP = "DELETE_BACKUP"
    CREATE_DISK = "CREATE_DISK"
    ATTACH_DISK = "ATTACH_DISK"
    DETACH_DISK = "DETACH_DISK"
    EXTEND_DISK = "EXTEND_DISK"
    DELETE_DISK = "DELETE_DISK"


class TokenScope(StrEnum):
    """What an API token may be used for."""

    READ = "READ"
    IMAGES = "IMAGES"
    SHARING = "SHARING"
    ECS = "ECS"
    STORAGE = "STORAGE"
    OPERATOR = "OPERATOR"


class QuotaResource(StrEnum):
    """What a project may have only so much of."""

    IMAGES = "IMAGES"
    IMAGE_BYTES = "IMAGE_BYTES"
    IMAGE_JOBS = "IMAGE_JOBS"
    ECS_INSTANCES = "ECS_INSTANCES"
    VCPUS = "VCPUS"
    RAM_MIB = "RAM_MIB"
    DISKS = "DISKS"
    DISK_GIB = "DISK_GIB"
    BACKUPS = "BACKUPS"
    KEY_PAIRS = "KEY_PAIRS"
    UPLOADS = "UPLOADS"


class ImageOrderField(StrEnum):
    """What images can be ordered by."""

    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"
    NAME = "NAME"
    SIZE = "SIZE"
    MIN_DISK = "MIN_DISK"
    STATUS = "STATUS"
    SHARED_AT = "SHARED_AT"


class EcsOrderField(StrEnum):
    """What ECSs can be ordered by."""

    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"
    NAME = "NAME"
    STATUS = "STATUS"


class OrderDirection(StrEnum):
    """Which end of an order comes first."""

    ASC = "ASC"
    DESC = "DESC"


class ImageFacetField(StrEnum):
    """What images can be counted by."""

    VISIBILITY = "VISIBILITY"
    KIND = "KIND"
    STATUS = "STATUS"
    OS_TYPE = "OS_TYPE"
    PLATFORM = "PLATFORM"
    OS_VERSION = "OS_VERSION"
    ARCHITECTURE = "ARCHITECTURE"
    TAG_KEY = "TAG_KEY"
    TAG = "TAG"


class EventType(StrEnum):
    """What happened to something that a project can see."""

    RESYNC = "RESYNC"
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    SHARED = "SHARED"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    REVOKED = "REVOKED"
