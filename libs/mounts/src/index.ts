export { rootfsMounts } from './rootfs-mounts.ts'
export { createMountsService, type MountsDeps, type MountsService } from './service.ts'
