export { createMountsService, type MountsDeps, type MountsService } from './service.ts'
