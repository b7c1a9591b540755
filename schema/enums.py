"""The words of app.enums as GraphQL enums, with a sentence for each. ErrorCode is described in schema/errors.py."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from strawberry.types.enum import StrawberryEnumDefinition

from app.enums import (
    Architecture,
    BackupStatus,
    Consistency,
    DiskFormat,
    DiskStatus,
    DiskType,
    EcsOrderField,
    EcsStatus,
    EventType,
    ExportFormat,
    Firmware,
    FlavorState,
    HashAlgorithm,
    ImageAction,
    ImageFacetField,
    ImageKind,
    ImageOrderField,
    ImageSourceKind,
    ImageStatus,
    ImageVisibility,
    JobStatus,
    JobType,
    OrderDirection,
    OsType,
    PortProtocol,
    QuotaResource,
    ShareOutcome,
    ShareStatus,
    TokenScope,
    UploadProtocol,
    UploadStatus,
    WarningCode,
)
from schema.errors import describe_enum


class ChangeType(StrEnum):
    """What happened to an ECS or a job."""

    RESYNC = "RESYNC"
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"


_RESYNC: Final = "Events are missing here: read your list again, the stream is live from now on."

SENTENCES: Final[tuple[tuple[type[StrEnum], dict[StrEnum, str]], ...]] = (
    (
        WarningCode,
        {
            WarningCode.CRASH_CONSISTENT: "The machine was running: its disks are as after a power cut.",
            WarningCode.OS_NOT_DETECTED: "What system the disk boots is not known.",
            WarningCode.FLAVOR_BEING_RETIRED: "The flavor will not be sold for much longer.",
        },
    ),
    (
        ImageVisibility,
        {
            ImageVisibility.PUBLIC: "Everybody's.",
            ImageVisibility.PRIVATE: "The viewer's own, shared out or not; an operator sees other projects' images so, too.",
            ImageVisibility.SHARED: "Another project's, shared with the viewer's.",
        },
    ),
    (
        ImageKind,
        {
            ImageKind.SYSTEM_DISK: "One bootable disk.",
            ImageKind.DATA_DISK: "One disk that EVS disks are made from; it boots nothing.",
            ImageKind.FULL_ECS: "All disks of an ECS, of one instant.",
            ImageKind.ISO: "An optical disc: it can be kept and fetched, but nothing is launched from it.",
        },
    ),
    (
        ImageStatus,
        {
            ImageStatus.QUEUED: "Its job waits.",
            ImageStatus.SAVING: "It is being made from an ECS, a disk or another image.",
            ImageStatus.IMPORTING: "It is being made from a file.",
            ImageStatus.ACTIVE: "It can be launched, shared and changed.",
            ImageStatus.KILLED: "It could not be made (fault says why); it can only be deleted.",
        },
    ),
    (
        ImageAction,
        {
            ImageAction.UPDATE: "updateImage",
            ImageAction.TAG: "tagImages, untagImages",
            ImageAction.DELETE: "deleteImages",
            ImageAction.SHARE: "shareImages, unshareImages",
            ImageAction.EXPORT: "exportImage",
            ImageAction.COPY: "createImage with source image",
            ImageAction.LAUNCH: "launchEcs",
            ImageAction.CREATE_DISK: "createEvsDisks, and data disks of launchEcs",
            ImageAction.ACCEPT: "acceptShares",
            ImageAction.REJECT: "rejectShares",
        },
    ),
    (
        ImageSourceKind,
        {
            ImageSourceKind.ECS: "The system disk of an ECS.",
            ImageSourceKind.DISK: "One EVS disk.",
            ImageSourceKind.FULL_ECS: "A whole ECS.",
            ImageSourceKind.BACKUP: "A backup, that is a whole ECS.",
            ImageSourceKind.IMAGE: "Another image, of which it is a copy.",
            ImageSourceKind.UPLOAD: "A disk file that was uploaded.",
            ImageSourceKind.URL: "A disk file that was fetched from an address.",
            ImageSourceKind.INSTALLED: "It came with the installation.",
        },
    ),
    (
        DiskFormat,
        {
            DiskFormat.QCOW2: "Of QEMU.",
            DiskFormat.RAW: "The disk's bytes as they are.",
            DiskFormat.VMDK: "Of VMware; one file.",
            DiskFormat.VHD: "Of Virtual PC and Azure, dynamic or fixed.",
            DiskFormat.VHDX: "Of Hyper-V.",
            DiskFormat.VDI: "Of VirtualBox.",
            DiskFormat.QED: "An older one of QEMU.",
            DiskFormat.QCOW: "The first one of QEMU.",
            DiskFormat.ISO: "An optical disc, ISO 9660.",
        },
    ),
    (
        OsType,
        {
            OsType.LINUX: "A Linux distribution.",
            OsType.WINDOWS: "Microsoft Windows.",
            OsType.OTHER: "Something else that boots.",
        },
    ),
    (
        Architecture,
        {
            Architecture.X86_64: "64-bit x86, and what runs on it.",
            Architecture.ARM64: "64-bit Arm.",
        },
    ),
    (
        Firmware,
        {
            Firmware.BIOS: "Legacy BIOS.",
            Firmware.UEFI: "UEFI.",
        },
    ),
    (
        ShareStatus,
        {
            ShareStatus.PENDING: "Offered; not answered yet, and not to be launched.",
            ShareStatus.ACCEPTED: "Accepted: in the recipient's lists, and to be launched.",
            ShareStatus.REJECTED: "Rejected; it can still be accepted while it is offered.",
        },
    ),
    (
        ShareOutcome,
        {
            ShareOutcome.SHARED: "The image is (in a dry run: would be) offered to the project.",
            ShareOutcome.SHARED_AGAIN: "The project had rejected it; it is offered again.",
            ShareOutcome.ALREADY_MEMBER: "It was offered or accepted before; nothing changed.",
            ShareOutcome.REMOVED: "The share is gone.",
            ShareOutcome.NOT_A_MEMBER: "There was no share to withdraw; nothing changed.",
            ShareOutcome.REFUSED: "Nothing changed; error says why.",
        },
    ),
    (
        EcsStatus,
        {
            EcsStatus.BUILD: "It is being launched.",
            EcsStatus.ACTIVE: "It runs.",
            EcsStatus.SHUTOFF: "It is switched off.",
            EcsStatus.REBOOT: "It is being restarted by its operating system.",
            EcsStatus.HARD_REBOOT: "It is being restarted by force.",
            EcsStatus.ERROR: "It could not be launched (fault says why); it can only be deleted.",
            EcsStatus.DELETED: "It is gone; only the last value of ecsUpdated says so.",
        },
    ),
    (
        DiskStatus,
        {
            DiskStatus.CREATING: "It is being made.",
            DiskStatus.AVAILABLE: "It belongs to no ECS, and can be attached to one.",
            DiskStatus.ATTACHING: "It is being attached to an ECS.",
            DiskStatus.IN_USE: "It belongs to an ECS.",
            DiskStatus.DETACHING: "It is being detached from its ECS.",
            DiskStatus.EXTENDING: "It is being made larger.",
            DiskStatus.UPLOADING: "An image of it is being made, which still needs it.",
            DiskStatus.RESTORING: "It is being overwritten from a backup.",
            DiskStatus.DELETING: "It is being deleted.",
            DiskStatus.ERROR: "It could not be made (fault says why); it can only be deleted.",
        },
    ),
    (
        DiskType,
        {
            DiskType.SATA: "Common I/O.",
            DiskType.SAS: "High I/O.",
            DiskType.GPSSD: "General purpose SSD.",
            DiskType.SSD: "Ultra-high I/O.",
            DiskType.ESSD: "Extreme SSD.",
            DiskType.GPSSD2: "General purpose SSD, second generation.",
        },
    ),
    (
        FlavorState,
        {
            FlavorState.NORMAL: "Sold.",
            FlavorState.ABANDON: "Not sold any more.",
            FlavorState.SELLOUT: "Sold out.",
            FlavorState.OBT: "In open beta.",
            FlavorState.OBT_SELLOUT: "In open beta, sold out.",
            FlavorState.PROMOTION: "Sold, and recommended.",
        },
    ),
    (
        BackupStatus,
        {
            BackupStatus.CREATING: "It is being made.",
            BackupStatus.AVAILABLE: "It can be restored, and an image can be made of it.",
            BackupStatus.RESTORING: "Its ECS is being restored from it.",
            BackupStatus.DELETING: "It is being deleted.",
            BackupStatus.ERROR: "It could not be made (fault says why); it can only be deleted.",
        },
    ),
    (
        Consistency,
        {
            Consistency.FILESYSTEM: "The machine ran, and its guest agent brought its file systems to rest meanwhile.",
            Consistency.CRASH: "The machine ran: its disks are as after a power cut.",
            Consistency.STOPPED: "The machine was off.",
        },
    ),
    (PortProtocol, {PortProtocol.TCP: "TCP."}),
    (
        JobStatus,
        {
            JobStatus.INIT: "It waits for its turn.",
            JobStatus.RUNNING: "It is at work, or being undone.",
            JobStatus.SUCCESS: "Done.",
            JobStatus.FAIL: "It failed and was undone; fault says why.",
            JobStatus.CANCELLED: "It was cancelled and undone.",
        },
    ),
    (
        JobType,
        {
            JobType.CREATE_IMAGE: "Makes an image of one disk.",
            JobType.CREATE_FULL_ECS_IMAGE: "Makes an image of a whole ECS.",
            JobType.IMPORT_IMAGE: "Makes an image from a file.",
            JobType.COPY_IMAGE: "Makes an image that is a copy of another.",
            JobType.EXPORT_IMAGE: "Makes a disk file of an image.",
            JobType.DELETE_IMAGE: "Frees the storage of a deleted image.",
            JobType.LAUNCH_ECS: "Launches ECSs.",
            JobType.START_ECS: "Switches an ECS on.",
            JobType.STOP_ECS: "Switches an ECS off.",
            JobType.REBOOT_ECS: "Restarts an ECS.",
            JobType.DELETE_ECS: "Deletes an ECS.",
            JobType.CREATE_BACKUP: "Makes a backup of an ECS.",
            JobType.RESTORE_BACKUP: "Restores a backup, onto its ECS or into a new one.",
            JobType.DELETE_BACKUP: "Deletes a backup.",
            JobType.CREATE_DISK: "Makes EVS disks.",
            JobType.ATTACH_DISK: "Attaches an EVS disk to an ECS.",
            JobType.DETACH_DISK: "Detaches an EVS disk from its ECS.",
            JobType.EXTEND_DISK: "Makes an EVS disk larger.",
            JobType.DELETE_DISK: "Deletes an EVS disk.",
        },
    ),
    (
        TokenScope,
        {
            TokenScope.READ: "All queries and subscriptions.",
            TokenScope.IMAGES: "Making, changing and deleting images.",
            TokenScope.SHARING: "Sharing images, answering shares, and finding projects by name.",
            TokenScope.ECS: "Launching and operating ECSs, and key pairs.",
            TokenScope.STORAGE: "Making, attaching, changing and deleting EVS disks, and backups.",
            TokenScope.OPERATOR: "Seeing every image and keeping the public ones.",
        },
    ),
    (
        QuotaResource,
        {
            QuotaResource.IMAGES: "Images, whatever their status.",
            QuotaResource.IMAGE_BYTES: "Bytes of all images' disks as a machine sees them.",
            QuotaResource.IMAGE_JOBS: "Jobs that make images, at a time.",
            QuotaResource.ECS_INSTANCES: "ECSs that are not deleted.",
            QuotaResource.VCPUS: "Virtual processors of all ECSs.",
            QuotaResource.RAM_MIB: "Memory of all ECSs, in MiB.",
            QuotaResource.DISKS: "EVS disks.",
            QuotaResource.DISK_GIB: "Sizes of all EVS disks together, in GiB.",
            QuotaResource.BACKUPS: "Backups, whatever their status.",
            QuotaResource.KEY_PAIRS: "Key pairs.",
            QuotaResource.UPLOADS: "Uploads, whatever their status.",
        },
    ),
    (
        ExportFormat,
        {
            ExportFormat.QCOW2: "QEMU's, version 3.",
            ExportFormat.RAW: "The bytes of the disk, one after the other; as large as the disk.",
            ExportFormat.VMDK: "VMware's, one file that grows.",
            ExportFormat.VHD: "Virtual PC's, one file that grows.",
            ExportFormat.VHDX: "Hyper-V's, one file that grows.",
        },
    ),
    (HashAlgorithm, {HashAlgorithm.SHA256: "SHA-256; 64 hexadecimal digits."}),
    (UploadProtocol, {UploadProtocol.TUS: "tus 1.0, https://tus.io/protocols/resumable-upload"}),
    (
        UploadStatus,
        {
            UploadStatus.RECEIVING: "Not all of its bytes are here.",
            UploadStatus.COMPLETE: "All of its bytes are here; an image can be made of it.",
            UploadStatus.USED: "An image is being made of it.",
            UploadStatus.FAILED: "It cannot be used (fault says why).",
        },
    ),
    (
        ImageOrderField,
        {
            ImageOrderField.CREATED_AT: "When it was made.",
            ImageOrderField.UPDATED_AT: "When it was last changed.",
            ImageOrderField.NAME: "Its name.",
            ImageOrderField.SIZE: "Bytes in the store; unknown counts as 0.",
            ImageOrderField.MIN_DISK: "minDiskGib.",
            ImageOrderField.STATUS: "Its status, by the alphabet.",
            ImageOrderField.SHARED_AT: "When it was shared with the viewer; of other images when they were made.",
        },
    ),
    (
        EcsOrderField,
        {
            EcsOrderField.CREATED_AT: "When it was asked for.",
            EcsOrderField.UPDATED_AT: "When it was last changed.",
            EcsOrderField.NAME: "Its name.",
            EcsOrderField.STATUS: "Its status, by the alphabet.",
        },
    ),
    (
        OrderDirection,
        {
            OrderDirection.ASC: "Smallest, oldest or A first.",
            OrderDirection.DESC: "Largest, newest or Z first.",
        },
    ),
    (
        ImageFacetField,
        {
            ImageFacetField.VISIBILITY: "For ImageFilter.visibility.",
            ImageFacetField.KIND: "For ImageFilter.kind.",
            ImageFacetField.STATUS: "For ImageFilter.status.",
            ImageFacetField.OS_TYPE: "For ImageFilter.osType.",
            ImageFacetField.PLATFORM: "For ImageFilter.platform.",
            ImageFacetField.OS_VERSION: "For ImageFilter.osVersion.",
            ImageFacetField.ARCHITECTURE: "For ImageFilter.architecture.",
            ImageFacetField.TAG_KEY: "Keys of tags, for TagMatch.key.",
            ImageFacetField.TAG: "Tags, as key=value.",
        },
    ),
    (
        EventType,
        {
            EventType.RESYNC: _RESYNC,
            EventType.CREATED: "The image is new.",
            EventType.UPDATED: "Something of the image has changed.",
            EventType.DELETED: "The image is gone.",
            EventType.SHARED: "It was offered to memberProject.",
            EventType.ACCEPTED: "memberProject accepted it.",
            EventType.REJECTED: "memberProject rejected it.",
            EventType.REVOKED: "It is not shared with memberProject any more; to the recipient: it is gone.",
        },
    ),
    (
        ChangeType,
        {
            ChangeType.RESYNC: _RESYNC,
            ChangeType.CREATED: "It is new.",
            ChangeType.UPDATED: "Something of it has changed.",
            ChangeType.DELETED: "It is gone.",
        },
    ),
)

for words, sentences in SENTENCES:
    describe_enum(words, sentences)

# To the service one set of events; to clients those of images have words of their own.
_events: StrawberryEnumDefinition = vars(EventType)["__strawberry_definition__"]
_events.name = "ImageEventType"
