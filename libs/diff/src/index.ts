export type { DiffServiceDeps } from './deps.ts'
export { createDiffService } from './diff-service.ts'
export type { StreamProcessor } from './processors.ts'
