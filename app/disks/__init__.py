"""EVS disks: the block devices of machines."""
